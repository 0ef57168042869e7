// common.js -- what smoke-test.js and litellm-load-test.js share: whom to ask, which models, how an answer is asked for, judged and counted.
//
// k6 keeps an answer back until its last byte is there. So of a stream it tells how long all of it took, how much came and, by
// http_req_waiting, when the first byte of the answer's HEAD came (TTFB). That is not when the first token came (TTFT): an engine sends
// its head long before. TTFT is told here by the gateway alone, from its own histogram in /metrics, read before and after the run.
import http from 'k6/http';
import exec from 'k6/execution';
import { check } from 'k6';
import { Counter, Gauge, Rate, Trend } from 'k6/metrics';

/** @typedef {import('k6/http').RefinedResponse<'text'>} Response */

const SHARES = [60, 25, 15]; // of the first, second and third model
const CHAT_PATH = '/v1/chat/completions';
const TTFT_FAMILY = 'litellm_llm_api_time_to_first_token_metric_bucket';
const TOKEN_KEYS = ['content', 'reasoning_content', 'reasoning', 'refusal', 'tool_calls'];
const WORDS = ['river', 'stone', 'bridge', 'water', 'measure', 'level', 'morning', 'field'];

// ---- settings: environment variables, or k6's -e NAME=value ----

function text(name, otherwise) {
  const value = __ENV[name];
  return value === undefined || value === '' ? otherwise : value;
}

export function number(name, otherwise) {
  const value = Number(text(name, otherwise));
  if (!Number.isFinite(value) || value < 0) {
    throw new Error(`${name}=${__ENV[name]}: a number of 0 or more is expected`);
  }
  return value;
}

// Seconds of "90", "90s", "10m", "1h30m".
export function seconds(name, otherwise) {
  const value = text(name, otherwise);
  const parts = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?$/.exec(value);
  const total = parts ? Number(parts[1] || 0) * 3600 + Number(parts[2] || 0) * 60 + Number(parts[3] || 0) : 0;
  if (total <= 0) {
    throw new Error(`${name}=${value}: a duration such as 30s, 10m or 1h30m is expected`);
  }
  return total;
}

// [{model, share}] of "a=60,b=25" or of "a,b,c", whose shares are 60, 25 and 15.
export function mixOf(list) {
  return list.split(',').map((part) => part.trim()).filter((part) => part).map((part, at) => {
    const cut = part.lastIndexOf('=');
    const model = cut < 0 ? part : part.slice(0, cut);
    const share = cut < 0 ? SHARES[at] : Number(part.slice(cut + 1));
    if (!model || !(share > 0)) {
      throw new Error(`MODELS: "${part}": the fourth model and those after it need a share above 0, as in llama3=5`);
    }
    return { model, share };
  });
}

export const settings = {
  base: text('BASE_URL', 'http://localhost:4000').replace(/\/+$/, ''),
  key: text('API_KEY', text('LITELLM_API_KEY', text('LITELLM_MASTER_KEY', ''))),
  mix: mixOf(text('MODELS', '')),
  streamShare: number('STREAM_SHARE', '0.5'),
  maxTokens: number('MAX_TOKENS', '64'),
  promptWords: number('PROMPT_WORDS', '30'),
  timeout: text('TIMEOUT', '10m'),
  maxFailRatio: number('MAX_FAIL_RATIO', '0.01'),
  maxP95Ms: number('MAX_P95_MS', '30000'),
  maxStreamP95Ms: number('MAX_STREAM_P95_MS', '60000'),
  maxTtftP95Ms: number('MAX_TTFT_P95_MS', '0'), // 0: not looked at
};

// ---- metrics ----

const requests = new Counter('llm_requests'); // chat requests alone; http_reqs has those of setup and teardown too
const failed = new Rate('llm_failed');
const duration = new Trend('llm_duration', true); // of good answers, to the last byte
const ttfb = new Trend('llm_ttfb', true); // to the first byte of the head; NOT to the first token
const streamBytes = new Trend('llm_stream_bytes');
const streamChunks = new Trend('llm_stream_chunks'); // events that carry text
const outputTokens = new Counter('llm_output_tokens'); // as the answer's usage says, else its chunks
const tokensPerSecond = new Trend('llm_tokens_per_second'); // over the whole duration: the wait for the first token is part of it
const overhead = new Trend('llm_gateway_overhead', true); // what the gateway says it added to a plain answer
const ttftP50 = new Gauge('gateway_ttft_p50_ms'); // of the gateway's histogram: as exact as its buckets
const ttftP95 = new Gauge('gateway_ttft_p95_ms');

// Thresholds that both scripts have. A threshold on a rate that has no sample fails in k6, so that rates are looked at without tags;
// one on a trend or counter passes. "count>=0" passes always: k6 keeps figures of a tag only where a threshold names it.
export function thresholds() {
  const found = {
    checks: [`rate>=${1 - settings.maxFailRatio}`],
    llm_failed: [`rate<=${settings.maxFailRatio}`],
    llm_requests: ['count>0'],
    'llm_duration{kind:plain}': [`p(95)<${settings.maxP95Ms}`],
    'llm_duration{kind:stream}': [`p(95)<${settings.maxStreamP95Ms}`],
    'llm_requests{kind:plain}': ['count>=0'],
    'llm_requests{kind:stream}': ['count>=0'],
    'llm_ttfb{kind:stream}': ['max>=0'],
  };
  for (const { model } of settings.mix) {
    if (!/[{},"']/.test(model)) { // what k6's notation for tags cannot hold
      found[`llm_requests{model:${model}}`] = ['count>=0'];
      found[`llm_duration{model:${model}}`] = ['max>=0'];
    }
  }
  if (settings.maxTtftP95Ms > 0) {
    found.gateway_ttft_p95_ms = ['value>0', `value<=${settings.maxTtftP95Ms}`]; // 0: nothing was measured
  }
  return found;
}

export const summaryTrendStats = ['count', 'avg', 'min', 'med', 'p(90)', 'p(95)', 'p(99)', 'max'];

// ---- setup and teardown ----

function headers() {
  const fields = { 'Content-Type': 'application/json' };
  if (settings.key) {
    fields.Authorization = `Bearer ${settings.key}`;
  }
  return fields;
}

function get(path) {
  return http.get(settings.base + path, { headers: headers(), timeout: '10s', tags: { kind: 'setup' } });
}

/** @param {{body: any}} response */
function jsonOf(response) {
  try {
    return JSON.parse(response.body);
  } catch (_) {
    return null;
  }
}

// The first `most` chat models. Where /v1/model/info tells a model's mode, embeddings and the like are left out.
function offered(most) {
  const answer = get('/v1/models');
  const list = answer.status === 200 ? jsonOf(answer) : null;
  if (!list || !Array.isArray(list.data)) {
    const said = answer.status ? `HTTP ${answer.status}` : answer.error;
    exec.test.abort(`no models from ${settings.base}/v1/models: ${said}. Is the gateway running, and the key right (API_KEY)?`);
    return [];
  }
  const info = get('/v1/model/info');
  const rows = (info.status === 200 && (jsonOf(info) || {}).data) || [];
  const modes = {};
  for (const row of rows) {
    modes[row.model_name] = (row.model_info || {}).mode;
  }
  const names = list.data.map((m) => m.id).filter((name) => !modes[name] || modes[name] === 'chat').slice(0, most);
  if (names.length === 0) {
    exec.test.abort(`${settings.base} offers no chat model`);
  }
  return names.map((model, at) => ({ model, share: SHARES[at] }));
}

// {bound in seconds: count} over all series of the gateway's TTFT histogram; null where there is no /metrics.
function ttftBuckets() {
  const answer = get('/metrics');
  if (answer.status !== 200 || !answer.body) {
    return null;
  }
  const buckets = {};
  for (const line of String(answer.body).split('\n')) {
    const bound = line.startsWith(TTFT_FAMILY) && /[{,]le="([^"]+)"/.exec(line);
    if (bound) {
      buckets[bound[1]] = (buckets[bound[1]] || 0) + Number(line.slice(line.lastIndexOf('} ') + 2).split(' ')[0]);
    }
  }
  return buckets;
}

// The quantile in ms, interpolated within its bucket as Prometheus's histogram_quantile() does; -1 without a request.
export function quantileMs(before, after, q) {
  const bounds = Object.keys(after).map((le) => ({ le: le === '+Inf' ? Infinity : Number(le), n: after[le] - (before[le] || 0) }));
  bounds.sort((a, b) => a.le - b.le);
  const total = bounds.length ? bounds[bounds.length - 1].n : 0;
  if (!(total > 0)) {
    return -1;
  }
  const rank = q * total;
  let low = 0;
  let under = 0;
  for (const { le, n } of bounds) {
    if (n >= rank) {
      return 1000 * (le === Infinity ? low : low + (le - low) * (n > under ? (rank - under) / (n - under) : 1));
    }
    low = le;
    under = n;
  }
  return -1;
}

// What setup() hands to the users. `most`: how many of the gateway's models are asked where MODELS does not say.
export function begin(most) {
  const before = ttftBuckets();
  if (settings.maxTtftP95Ms > 0 && (before === null || settings.streamShare === 0)) {
    exec.test.abort(before === null ? `MAX_TTFT_P95_MS: ${settings.base}/metrics does not answer, and k6 cannot see a first token itself`
      : 'MAX_TTFT_P95_MS: nothing is streamed, STREAM_SHARE=0');
  }
  const mix = settings.mix.length > 0 ? settings.mix : offered(most);
  console.log(`models: ${mix.map(({ model, share }) => `${model} ${share}`).join(', ')}`);
  return { mix, before };
}

export function end(data) { // without data where setup() gave up
  const after = data && data.before && ttftBuckets();
  if (after) {
    ttftP50.add(Math.max(0, quantileMs(data.before, after, 0.5)));
    ttftP95.add(Math.max(0, quantileMs(data.before, after, 0.95)));
  }
}

// ---- one request ----

function draw(mix) {
  let left = Math.random() * mix.reduce((sum, { share }) => sum + share, 0);
  for (const { model, share } of mix) {
    left -= share;
    if (left < 0) {
      return model;
    }
  }
  return mix[mix.length - 1].model;
}

// No two prompts alike: a cache of answers or prefixes would flatter the gateway.
function prompt() {
  const words = [`${exec.vu.idInTest}.${exec.vu.iterationInInstance}.${Date.now()}.${Math.random().toString(36).slice(2)}`];
  for (let i = 0; i < settings.promptWords; i++) {
    words.push(WORDS[Math.floor(Math.random() * WORDS.length)]);
  }
  return `Continue: ${words.join(' ')}`;
}

function hasToken(part) {
  return !!part && TOKEN_KEYS.some((key) => part[key] && part[key].length > 0);
}

/** @param {Response} response */
function readPlain(response) {
  const body = response.status === 200 ? jsonOf(response) : null;
  const choice = body && body.choices && body.choices[0];
  return { ended: !!choice && !!choice.finish_reason, chunks: choice && hasToken(choice.message) ? 1 : 0, error: !!(body && body.error),
    tokens: (body && body.usage && body.usage.completion_tokens) || 0 };
}

/** @param {Response} response */
function readStream(response) {
  const seen = { ended: false, chunks: 0, error: false, tokens: 0 };
  for (const line of response.status === 200 && response.body ? String(response.body).split('\n') : []) {
    const data = line.startsWith('data:') ? line.slice(5).trim() : '';
    if (data === '[DONE]') {
      seen.ended = true;
    } else if (data) {
      const event = jsonOf({ body: data });
      seen.error = seen.error || !event || !!event.error;
      seen.tokens = (event && event.usage && event.usage.completion_tokens) || seen.tokens;
      seen.chunks += event && (event.choices || []).some((choice) => hasToken(choice.delta)) ? 1 : 0;
    }
  }
  return seen;
}

/** @param {Response} response @param {string} name */
function header(response, name) {
  const found = Object.keys(response.headers || {}).find((key) => key.toLowerCase() === name);
  return found ? response.headers[found] : undefined;
}

// Of UTF-8; k6 has the body as text.
function bytesOf(body) {
  let bytes = body.length;
  for (let at = body.search(/[^\x00-\x7f]/); at >= 0 && at < body.length; at++) {
    const c = body.charCodeAt(at);
    bytes += c < 0x80 ? 0 : c < 0x800 || (c >= 0xd800 && c < 0xe000) ? 1 : 2;
  }
  return bytes;
}

// Asks one model of the mix, streamed or not, and counts what came.
export function ask(mix) {
  const model = draw(mix);
  const stream = Math.random() < settings.streamShare;
  const tags = { model, kind: stream ? 'stream' : 'plain' };
  const body = { model, messages: [{ role: 'user', content: prompt() }], max_tokens: settings.maxTokens };
  if (stream) {
    body.stream = true;
    body.stream_options = { include_usage: true };
  }
  const response = http.post(settings.base + CHAT_PATH, JSON.stringify(body),
    { headers: headers(), timeout: settings.timeout, tags: Object.assign({ name: CHAT_PATH }, tags) });
  const seen = stream ? readStream(response) : readPlain(response);
  const good = check(response, {
    'status is 200': (r) => r.status === 200,
    'the answer has text': () => seen.chunks > 0,
    'the answer came to its end': () => seen.ended && !seen.error,
  }, tags);
  count(response, seen, tags, good);
  return good;
}

/** @param {Response} response */
function count(response, seen, tags, good) {
  requests.add(1, tags);
  failed.add(!good, tags);
  if (!good) {
    return;
  }
  const tokens = seen.tokens || seen.chunks;
  duration.add(response.timings.duration, tags);
  ttfb.add(response.timings.waiting, tags);
  outputTokens.add(tokens, tags);
  if (response.timings.duration > 0) {
    tokensPerSecond.add(tokens * 1000 / response.timings.duration, tags);
  }
  if (tags.kind === 'stream') {
    streamBytes.add(bytesOf(String(response.body)), tags);
    streamChunks.add(seen.chunks, tags);
  }
  const added = header(response, 'x-litellm-overhead-duration-ms');
  if (tags.kind === 'plain' && Number.isFinite(Number(added))) { // a stream's head is sent before the gateway can know
    overhead.add(Number(added), tags);
  }
}
