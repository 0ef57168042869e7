// server.mjs -- a real llama.cpp behind OpenAI's API, for tests: node server.mjs MODEL.gguf [PORT]
//
// node-llama-cpp carries llama.cpp's libraries; this adds the few lines of HTTP. One request at a
// time, one thread, the seed from the request: the same request gets the same text. Token counts are
// llama.cpp's own. Prints "ready PORT" when it listens.
import http from 'node:http';
import {getLlama, LlamaLogLevel} from 'node-llama-cpp';

const [modelPath, port = '0'] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: 'never', progressLogs: false, maxThreads: 1, logLevel: LlamaLogLevel.error});
const model = await llama.loadModel({modelPath});
const context = await model.createContext({contextSize: 1024, threads: 1});
const sequence = context.getSequence();
const id = 'tiny';
let turn = Promise.resolve(); // requests wait for the one before them
let running = 0, waiting = 0;

// What llama.cpp's own server says of itself, in its words and with what is true here.
const own = {
    '/props': () => ({
        default_generation_settings: {id: 0, n_ctx: context.contextSize, is_processing: running > 0},
        total_slots: context.totalSequences, model_path: modelPath, build_info: `b${llama.llamaCppRelease?.release ?? 0}`}),
    '/slots': () => [{id: 0, n_ctx: context.contextSize, is_processing: running > 0}],
    '/metrics': () => `llamacpp:requests_processing ${running}\nllamacpp:requests_deferred ${waiting}\n`,
};

function promptOf(messages) {
    return messages.map((m) => `${m.role}: ${m.content}\n`).join('') + 'assistant:';
}

async function readJson(request) {
    const parts = [];
    for await (const part of request) parts.push(part);
    return JSON.parse(Buffer.concat(parts).toString());
}

function answerJson(response, status, value) {
    const body = JSON.stringify(value);
    response.writeHead(status, {'content-type': 'application/json', 'content-length': Buffer.byteLength(body)});
    response.end(body);
}

// Yields text as it becomes whole characters; returns the counts.
async function* generate(messages, {max_tokens = 16, seed = 1, temperature = 0.8}, gone) {
    await sequence.clearHistory();
    const prompt = [model.tokens.bos, ...model.tokenize(promptOf(messages))];
    const tokens = [];
    let said = '', finish = 'length';
    for await (const token of sequence.evaluate(prompt, {temperature, seed, yieldEogToken: true})) {
        if (model.isEogToken(token)) {
            finish = 'stop';
            break;
        }
        tokens.push(token);
        const text = model.detokenize(tokens);
        if (!text.endsWith('\ufffd') && text.length > said.length) {
            yield text.slice(said.length);
            said = text;
        }
        if (tokens.length >= max_tokens || gone()) break;
    }
    const usage = {prompt_tokens: prompt.length, completion_tokens: tokens.length, total_tokens: prompt.length + tokens.length};
    return {finish, usage};
}

function chunk(extra) {
    return {id: 'chatcmpl-tiny', object: 'chat.completion.chunk', created: 1700000000, model: id, ...extra};
}

async function chat(request, response) {
    const body = await readJson(request);
    const run = generate(body.messages, body, () => response.destroyed);
    const send = (value) => response.write(`data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`);
    let text = '', step;
    if (body.stream) {
        response.writeHead(200, {'content-type': 'text/event-stream'});
        send(chunk({choices: [{index: 0, delta: {role: 'assistant', content: ''}, finish_reason: null}]}));
    }
    while (!(step = await run.next()).done) {
        text += step.value;
        if (body.stream) send(chunk({choices: [{index: 0, delta: {content: step.value}, finish_reason: null}]}));
    }
    const {finish, usage} = step.value;
    if (!body.stream) {
        const message = {role: 'assistant', content: text};
        answerJson(response, 200, {...chunk({choices: [{index: 0, message, finish_reason: finish}], usage}), object: 'chat.completion'});
        return;
    }
    send(chunk({choices: [{index: 0, delta: {}, finish_reason: finish}]}));
    if (body.stream_options?.include_usage) send(chunk({choices: [], usage}));
    send('[DONE]');
    response.end();
}

const server = http.createServer((request, response) => {
    if (request.method === 'GET' && request.url === '/v1/models') {
        answerJson(response, 200, {object: 'list', data: [{id, object: 'model', created: 1700000000, owned_by: 'llama.cpp'}]});
    } else if (request.method === 'POST' && request.url === '/v1/chat/completions') {
        waiting++;
        turn = turn.then(() => {
            waiting--, running++;
            return chat(request, response);
        }).catch((e) => {
            if (!response.headersSent) answerJson(response, 400, {error: {message: String(e), type: 'invalid_request_error', code: null}});
            else response.destroy();
        }).finally(() => running--);
    } else if (request.method === 'GET' && request.url in own) {
        const said = own[request.url]();
        if (typeof said === 'string') response.end(said);
        else answerJson(response, 200, said);
    } else {
        answerJson(response, 404, {error: {message: 'no such path', type: 'invalid_request_error', code: null}});
    }
});
server.listen(Number(port), '127.0.0.1', () => console.log(`ready ${server.address().port}`));
process.on('SIGTERM', () => process.exit(0));
