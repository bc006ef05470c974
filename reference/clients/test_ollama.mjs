// Ollama's JavaScript library against the server.
import { Ollama } from 'ollama';

import { assert, chinese, demoBase64, form, formQuestion, freesWithinASecond, key, main, shapesText, test, url } from './check.mjs';

const client = new Ollama({ host: url, headers: { Authorization: `Bearer ${key}` } });
const model = (await client.list()).models[0].name;
const options = { temperature: 0, num_predict: 200 };
const shapes = [{ role: 'user', content: chinese, images: [demoBase64('shapes.png')] }];

test('list, show', async () => {
    assert.ok((await client.list()).models[0].size > 0);
    const shown = await client.show({ model });
    for (const what of ['completion', 'vision', 'tools']) assert.ok(shown.capabilities.includes(what), what);
});

test('chat, and its stream', async () => {
    const answer = await client.chat({ model, messages: shapes, options });
    assert.equal(answer.message.content, shapesText);
    assert.ok(answer.done && answer.eval_count > 0 && answer.total_duration > 0);
    let text = '', last;
    for await (const part of await client.chat({ model, messages: shapes, options, stream: true })) {
        text += part.message.content;
        last = part;
    }
    assert.equal(text, shapesText);
    assert.equal(last.done_reason, 'stop');
});

test('generate, and its stream', async () => {
    const fields = { model, prompt: chinese, images: [demoBase64('shapes.png')], options };
    assert.equal((await client.generate(fields)).response, shapesText);
    let text = '';
    for await (const part of await client.generate({ ...fields, stream: true })) text += part.response;
    assert.equal(text, shapesText);
});

test('format', async () => {
    const properties = Object.fromEntries(Object.keys(form).map((name) => [name, { type: 'string' }]));
    const schema = { type: 'object', properties, required: Object.keys(form), additionalProperties: false };
    const messages = [{ role: 'user', content: formQuestion, images: [demoBase64('receipt.png')] }];
    assert.deepEqual(JSON.parse((await client.chat({ model, messages, options, format: schema })).message.content), form);
});

test('errors, and abort', async () => {
    await assert.rejects(client.chat({ model, messages: shapes, options: { temperature: 'hot' } }), { status_code: 400 });
    await assert.rejects(client.embed({ model, input: 'x' }), { status_code: 404 });
    const long = { type: 'array', items: { type: 'integer' }, minItems: 1000 }; // no answer that ends by itself before
    await freesWithinASecond(async () => {
        const stream = await client.chat({ model, messages: shapes, options: { num_predict: 3000 }, format: long, stream: true });
        await assert.rejects(async () => { for await (const _ of stream) stream.abort(); });
    });
});

await main('ollama (JavaScript)');
