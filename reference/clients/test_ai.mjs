// The AI SDK with its provider for OpenAI-compatible servers.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, generateObject, generateText, Output, streamObject, streamText, tool } from 'ai';
import { z } from 'zod';

import { assert, chinese, demoBytes, form, formQuestion, key, main, shapesText, test, url } from './check.mjs';

const provider = createOpenAICompatible({ name: 'qvl', baseURL: `${url}/v1`, apiKey: key, includeUsage: true,
    supportsStructuredOutputs: true });
const common = { model: provider('demo'), temperature: 0, maxOutputTokens: 200, maxRetries: 0 };
const picture = (name, text) => [{ role: 'user', content: [
    { type: 'image', image: demoBytes(name), mediaType: 'image/png' }, { type: 'text', text }] }];
const Form = z.object({ no: z.string(), date: z.string(), time: z.string(), item: z.string(), total: z.string() });

test('generateText', async () => {
    const answer = await generateText({ ...common, messages: picture('shapes.png', chinese) });
    assert.equal(answer.text, shapesText);
    assert.equal(answer.finishReason, 'stop');
    assert.ok(answer.usage.inputTokens > 0 && answer.usage.outputTokens > 0);
});

test('streamText', async () => {
    const stream = streamText({ ...common, messages: picture('shapes.png', chinese) });
    let text = '';
    for await (const delta of stream.textStream) text += delta;
    assert.equal(text, shapesText);
    assert.ok((await stream.usage).outputTokens > 0);
});

test('generateObject, streamObject, Output.object', async () => {
    const fields = { ...common, messages: picture('receipt.png', formQuestion) };
    assert.deepEqual((await generateObject({ ...fields, schema: Form })).object, form);
    const stream = streamObject({ ...fields, schema: Form });
    let last;
    for await (const partial of stream.partialObjectStream) last = partial;
    assert.deepEqual([last, await stream.object], [form, form]);
    assert.deepEqual((await generateText({ ...fields, output: Output.object({ schema: Form }) })).output, form);
});

test('tools', async () => {
    const count = tool({ description: 'Notes a number of shapes.',
        inputSchema: z.object({ shape: z.enum(['circle', 'star']), number: z.number().int().min(0).max(9) }), execute: async () => 'noted' });
    const fields = { ...common, messages: picture('shapes.png', chinese), tools: { count }, toolChoice: 'required' };
    const answer = await generateText(fields);
    assert.equal(answer.toolCalls[0].toolName, 'count');
    assert.equal(answer.finishReason, 'tool-calls');
    const stream = streamText(fields);
    await stream.consumeStream();
    assert.deepEqual((await stream.toolCalls)[0].input, answer.toolCalls[0].input);
});

test('tools and an output of a form', async () => {
    const count = tool({ description: 'Notes a number of shapes.', inputSchema: z.object({ shape: z.enum(['circle', 'star']) }) });
    const Answer = z.object({ ok: z.boolean(), shape: z.enum(['circle', 'star', 'none']) });
    const answer = await generateText({ ...common, messages: picture('shapes.png', chinese), tools: { count },
        output: Output.object({ schema: Answer }) });
    if (answer.toolCalls.length === 0) Answer.parse(answer.output);
    else assert.equal(answer.toolCalls[0].toolName, 'count');
});

test('errors', async () => {
    const wrong = createOpenAICompatible({ name: 'qvl', baseURL: `${url}/v1`, apiKey: 'wrong' })('demo');
    await assert.rejects(generateText({ ...common, model: wrong, prompt: 'x' }),
        (error) => APICallError.isInstance(error) && error.statusCode === 401 && !error.isRetryable);
});

await main('ai + @ai-sdk/openai-compatible (JavaScript)');
