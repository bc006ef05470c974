// check.py for the libraries in JavaScript: where the server is, the demo's pictures and true answers, cases.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

export const { QVL_URL: url, QVL_STRICT_URL: strictUrl, QVL_KEY: key } = process.env;
const root = pathToFileURL(process.env.QVL_ROOT + '/'); // this file runs where its libraries are
const cases = [];

export function test(name, run) {
    cases.push({ name, run });
}

// Runs all cases, or those whose name holds the first argument.
export async function main(prefix) {
    let nBad = 0;
    for (const { name, run } of cases.filter((c) => c.name.includes(process.argv[2] ?? ''))) {
        try {
            await run();
            console.log(`ok ${prefix}: ${name}`);
        } catch (error) {
            nBad++;
            const place = error.stack?.match(/test_\w+\.mjs:\d+/)?.[0] ?? '';
            console.log(`not ok ${prefix}: ${name}: ${place}: ${String(error).replace(/\s+/g, ' ').slice(0, 600)}`);
        }
    }
    process.exit(nBad ? 1 : 0);
}

export const demoBytes = (name) => readFileSync(new URL(`demo/${name}`, root));
export const demoBase64 = (name) => demoBytes(name).toString('base64');
export const dataUri = (name) => `data:${name.endsWith('.mp4') ? 'video/mp4' : 'image/png'};base64,${demoBase64(name)}`;

// What transformers answers with the same weights (reference/demo_answers.py).
export function truth(names, question) {
    for (const line of readFileSync(new URL('tests/golden/demo_answers.txt', root), 'utf8').split('\n')) {
        const [foundNames, foundQuestion, answer] = line.split('\t');
        if (foundNames === names && foundQuestion === question) return answer;
    }
    throw new Error(`no answer to ${names}: ${question}`);
}

export const imagePart = (name) => ({ type: 'image_url', image_url: { url: dataUri(name) } });
export const user = (...content) => [{ role: 'user',
    content: content.map((c) => (typeof c === 'string' ? { type: 'text', text: c } : c)) }];

export const chinese = '你看到了什么？';
export const shapesText = truth('shapes.png', chinese);
export const formQuestion = 'Return the fields as JSON.';
export const form = JSON.parse(truth('receipt.png', formQuestion));

async function busy() {
    const reply = await fetch(`${url}/metrics`, { headers: { Authorization: `Bearer ${key}` } });
    return (await reply.text()).split('\n').filter((line) => /^qvl_requests_(running|waiting)\b/.test(line))
        .reduce((sum, line) => sum + Number(line.split(' ').pop()), 0);
}

// Nothing runs or waits any more.
async function isIdleWithin(seconds) {
    const until = Date.now() + 1000 * seconds;
    while (await busy()) {
        if (Date.now() > until) return false;
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return true;
}

// A client leaves, and a second later nothing runs any more; a machine that stands still in it gets another chance.
export async function freesWithinASecond(leave) {
    for (let i = 0; i < 5; i++) {
        await leave();
        if (await isIdleWithin(1)) return;
        assert.ok(await isIdleWithin(60), 'still at work');
    }
    assert.fail('five times it took more than a second');
}

export const countTool = { type: 'function', function: {
    name: 'count_shapes', description: 'Tells how many shapes of a kind there are.', strict: true,
    parameters: { type: 'object', additionalProperties: false, required: ['shape', 'count'], properties: {
        shape: { type: 'string', enum: ['circle', 'square', 'star'] },
        count: { type: 'integer', minimum: 0, maximum: 9 } } } } };

export { assert };
