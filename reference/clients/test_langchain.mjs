// LangChain's ChatOpenAI for JavaScript against the server.
import { HumanMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI } from '@langchain/openai';
import { z } from 'zod';

import { assert, chinese, demoBase64, form, formQuestion, imagePart, key, main, shapesText, test, url, user } from './check.mjs';

const model = (fields = {}) => new ChatOpenAI({ model: 'demo', apiKey: key, maxRetries: 0, temperature: 0, maxTokens: 200,
    configuration: { baseURL: `${url}/v1` }, ...fields });
const shapes = new HumanMessage({ content: user(imagePart('shapes.png'), chinese)[0].content });
const receipt = new HumanMessage({ content: user(imagePart('receipt.png'), formQuestion)[0].content });
// What is called is bounded: prompts with tools are strange to the demo model, and it would write without end.
const Count = z.object({ shape: z.enum(['circle', 'star']), number: z.number().int().min(0).max(9) });
const Form = z.object({ no: z.string(), date: z.string(), time: z.string(), item: z.string(), total: z.string() });

test('invoke, with pictures in both spellings', async () => {
    const answer = await model().invoke([shapes]);
    assert.equal(answer.content, shapesText);
    assert.ok(answer.usage_metadata.output_tokens > 0);
    const block = { type: 'image', source_type: 'base64', data: demoBase64('shapes.png'), mime_type: 'image/png' };
    const again = await model().invoke([new HumanMessage({ content: [block, { type: 'text', text: chinese }] })]);
    assert.equal(again.content, shapesText);
});

test('stream', async () => {
    let whole;
    for await (const chunk of await model().stream([shapes])) whole = whole ? whole.concat(chunk) : chunk;
    assert.equal(whole.content, shapesText);
    assert.ok(whole.usage_metadata.output_tokens > 0);
});

test('withStructuredOutput: each method', async () => {
    for (const method of ['jsonSchema', 'jsonMode']) {
        assert.deepEqual(await model().withStructuredOutput(Form, { method }).invoke([receipt]), form);
    }
    const called = await model().withStructuredOutput(Count, { method: 'functionCalling' }).invoke([shapes]);
    assert.deepEqual(Object.keys(called).sort(), ['number', 'shape']);
});

test('bindTools, and the way back', async () => {
    const count = tool(({ shape, number }) => `${number} ${shape}`, { name: 'count', description: 'Notes a number of shapes.',
        schema: Count });
    const bound = model().bindTools([count], { tool_choice: 'required', parallel_tool_calls: false });
    const answer = await bound.invoke([shapes]);
    assert.equal(answer.tool_calls[0].name, 'count');
    const result = new ToolMessage({ content: 'noted', tool_call_id: answer.tool_calls[0].id });
    const after = await model().bindTools([count], { tool_choice: 'none' }).invoke([shapes, answer, result]);
    assert.equal(after.tool_calls.length, 0);
});

await main('@langchain/openai (JavaScript)');
