// OpenAI's JavaScript library against the server.
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import { assert, chinese, countTool, dataUri, form, formQuestion, freesWithinASecond, imagePart, key, main, shapesText, strictUrl,
    test, truth, url, user } from './check.mjs';

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const strict = new OpenAI({ baseURL: `${strictUrl}/v1`, apiKey: key, maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const shapes = user(imagePart('shapes.png'), chinese);
const Form = z.object({ no: z.string(), date: z.string(), time: z.string(), item: z.string(), total: z.string() });
const endless = { max_tokens: 3000, temperature: 2, seed: 1, ignore_eos: true };

const ask = (messages, fields = {}, options = {}) =>
    client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 128, ...fields }, options);

async function refused(kind, promise) {
    let failure;
    await assert.rejects(promise, (error) => (failure = error) instanceof kind);
    return failure;
}

test('models', async () => {
    assert.equal((await client.models.retrieve(model)).object, 'model');
    await refused(OpenAI.NotFoundError, client.models.retrieve('no-such-model'));
});

test('text, pictures, clips', async () => {
    const hello = await ask(user('hello'));
    assert.equal(hello.object, 'chat.completion');
    assert.equal(hello.usage.total_tokens, hello.usage.prompt_tokens + hello.usage.completion_tokens);
    assert.equal((await ask(shapes)).choices[0].message.content, shapesText);
    const question = 'When does the orange cross appear?';
    const clip = { type: 'video_url', video_url: { url: dataUri('clip-2.mp4') } };
    assert.equal((await ask(user(clip, question))).choices[0].message.content, truth('clip-2.mp4', question));
});

test('stream, with usage', async () => {
    const chunks = [];
    for await (const chunk of await ask(shapes, { stream: true, stream_options: { include_usage: true } })) chunks.push(chunk);
    assert.equal(chunks.map((c) => c.choices[0]?.delta.content ?? '').join(''), shapesText);
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.ok(chunks.at(-1).usage.completion_tokens > 0);
    assert.equal(chunks.at(-2).choices[0].finish_reason, 'stop');
});

test("the library's stream helper", async () => {
    let text = '';
    const stream = client.chat.completions.stream({ model, messages: shapes, temperature: 0, max_tokens: 128 });
    stream.on('content', (delta) => (text += delta));
    assert.equal((await stream.finalChatCompletion()).choices[0].message.content, shapesText);
    assert.equal(text, shapesText);
});

test('a stream left early: all is free within a second', async () => {
    await freesWithinASecond(async () => {
        let n = 0;
        for await (const _ of await ask(user('hello'), { stream: true, ...endless })) if (++n === 5) break;
    });
});

test('parse', async () => {
    const fields = { model, temperature: 0, max_tokens: 200, messages: user(imagePart('receipt.png'), formQuestion),
        response_format: zodResponseFormat(Form, 'form') };
    assert.deepEqual((await client.chat.completions.parse(fields)).choices[0].message.parsed, form);
});

test('tools: required, streamed, the way back', async () => {
    const fields = { tools: [countTool], tool_choice: 'required', parallel_tool_calls: false };
    const answer = await ask(shapes, fields);
    assert.equal(answer.choices[0].finish_reason, 'tool_calls');
    const [call] = answer.choices[0].message.tool_calls;
    assert.equal(call.function.name, 'count_shapes');
    const stream = client.chat.completions.stream({ model, messages: shapes, temperature: 0, max_tokens: 128, ...fields });
    const [streamed] = (await stream.finalChatCompletion()).choices[0].message.tool_calls;
    assert.deepEqual(JSON.parse(streamed.function.arguments), JSON.parse(call.function.arguments));
    const after = await ask([...shapes, answer.choices[0].message, { role: 'tool', tool_call_id: call.id, content: 'one' }],
        { tools: [countTool], tool_choice: 'none' });
    assert.equal(after.choices[0].message.tool_calls, undefined);
});

test('runTools', async () => {
    const seen = [];
    const runner = client.chat.completions.runTools({ model, messages: shapes, temperature: 0, max_tokens: 128,
        tool_choice: { type: 'function', function: { name: 'count_shapes' } }, parallel_tool_calls: false,
        tools: [{ type: 'function', function: { ...countTool.function, parse: JSON.parse,
            function: (found) => { seen.push(found); return 'noted'; } } }] });
    await runner.done();
    assert.deepEqual(Object.keys(seen[0]).sort(), ['count', 'shape']);
});

test('errors', async () => {
    const bad = await refused(OpenAI.BadRequestError, ask(user('x'), { temperature: 'hot' }));
    assert.equal(bad.param, 'temperature');
    assert.equal(bad.type, 'invalid_request_error');
    assert.ok(bad.requestID);
    const wrong = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'wrong', maxRetries: 0 });
    await refused(OpenAI.AuthenticationError, wrong.models.list());
    await refused(OpenAI.NotFoundError, client.embeddings.create({ model, input: 'x' }));
    const broken = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } };
    await refused(OpenAI.UnprocessableEntityError, ask(user(broken)));
    const large = strict.chat.completions.create({ model, messages: user('x'.repeat(2e6)) });
    assert.equal((await refused(OpenAI.APIError, large)).status, 413);
    await freesWithinASecond(() => refused(OpenAI.APIConnectionTimeoutError, ask(user('hello'), endless, { timeout: 300 })));
});

test('headers', async () => {
    const { response } = await ask(user('hello'), { frobnicate: 1 }, { headers: { 'X-Request-ID': 'own.2' } }).withResponse();
    assert.equal(response.headers.get('x-request-id'), 'own.2');
    assert.equal(response.headers.get('x-ignored-params'), 'frobnicate');
});

test('responses: create, stream, parse', async () => {
    const input = [{ role: 'user', content: [{ type: 'input_image', image_url: dataUri('shapes.png'), detail: 'auto' },
        { type: 'input_text', text: chinese }] }];
    const fields = { model, input, temperature: 0, max_output_tokens: 64 };
    assert.equal((await client.responses.create(fields)).output_text, shapesText);
    let text = '';
    const stream = client.responses.stream(fields);
    stream.on('response.output_text.delta', (event) => (text += event.delta));
    assert.equal((await stream.finalResponse()).output_text, shapesText);
    assert.equal(text, shapesText);
});

await main('openai (JavaScript)');
