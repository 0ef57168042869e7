// Stands in for k6 where there is none: runs a script's setup(), users, teardown(), thresholds and handleSummary() against a real gateway,
// so that scripts/loadtesting/k6 is tried for what it asks, counts and decides. It is no k6 and says nothing about k6's speed or timing:
// what k6 does was read in its documentation. test_k6.py runs the same tests with a real k6 where one is.
//
//     k6 run [--vus N] [--duration D] [-e NAME=VALUE]... script.js
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Worker } from 'node:worker_threads';

const BUILT_IN = { checks: 'rate', http_reqs: 'counter', http_req_duration: 'trend', http_req_waiting: 'trend', http_req_failed: 'rate',
  iterations: 'counter', dropped_iterations: 'counter' };
const EXIT = { thresholds: 99, config: 104 };

function die(code, message) {
  process.stderr.write(`stand-in: ${message}\n`);
  process.exit(code);
}

function ms(duration) {
  const units = { ms: 1, s: 1000, m: 60000, h: 3600000 };
  const parts = [...String(duration).matchAll(/([\d.]+)(ms|s|m|h)/g)];
  if (parts.map((p) => p[0]).join('') !== String(duration) || parts.length === 0) {
    die(EXIT.config, `${duration}: no duration`);
  }
  return parts.reduce((sum, p) => sum + Number(p[1]) * units[p[2]], 0);
}

function arguments_(words) {
  const found = { env: { ...process.env }, vus: null, duration: null, script: null };
  for (let at = 0; at < words.length; at++) {
    if (words[at] === '-e') {
      const [name, ...value] = words[++at].split('=');
      found.env[name] = value.join('=');
    } else if (words[at] === '--vus' || words[at] === '--duration') {
      found[words[at].slice(2)] = words[++at];
    } else if (words[at] === '--new-machine-readable-summary') {
      found.newSummary = true;
    } else if (words[at].startsWith('-') || found.script) {
      die(EXIT.config, `${words[at]}: not among what the stand-in knows`);
    } else {
      found.script = words[at];
    }
  }
  return found;
}

// The scripts beside the modules that they import: Node finds "k6/http" in node_modules.
function lay(script) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'k6-stand-in-'));
  fs.cpSync(path.dirname(path.resolve(script)), folder, { recursive: true, filter: (name) => !name.endsWith('.md') });
  fs.cpSync(new URL('./api', import.meta.url), `${folder}/node_modules/k6`, { recursive: true });
  fs.writeFileSync(`${folder}/package.json`, '{"type": "module"}');
  return folder;
}

function start(context, job) {
  return new Promise((done) => {
    const worker = new Worker(new URL('./user.mjs', import.meta.url), { workerData: { ...context, job } });
    worker.on('message', done);
    worker.on('error', (error) => done({ samples: [], metrics: {}, result: null, failed: { code: 107, message: String(error) } }));
  });
}

// --duration replaces scenarios altogether; --vus alone does nothing beside them.
function scenariosOf(options, asked) {
  const own = options.scenarios && !asked.duration ? options.scenarios : null;
  if (own) {
    return Object.entries(own).map(([name, s]) => scenario(name, s));
  }
  const duration = asked.duration || options.duration;
  if (!duration) {
    die(EXIT.config, 'no duration');
  }
  return [scenario('default', { executor: 'constant-vus', vus: Number(asked.vus || options.vus || 1), duration })];
}

function scenario(name, s) {
  const stages = s.stages && s.stages.map((stage) => ({ duration_ms: ms(stage.duration), target: stage.target }));
  const total_ms = stages ? stages.reduce((sum, stage) => sum + stage.duration_ms, 0) : ms(s.duration);
  const found = { name, stages, total_ms, start_ms: s.startTime ? ms(s.startTime) : 0, startVUs: s.startVUs || 0, users: 0, due_ms: null };
  switch (s.executor) {
    case 'constant-vus': found.users = s.vus; break;
    case 'ramping-vus': found.users = Math.max(found.startVUs, ...stages.map((stage) => stage.target)); break;
    case 'constant-arrival-rate': found.due_ms = arrivals(() => s.rate, total_ms); break;
    case 'ramping-arrival-rate': found.due_ms = arrivals((at) => rateAt(stages, s.startRate, at), total_ms); break;
    default: die(EXIT.config, `${s.executor}: no executor`);
  }
  if (found.due_ms) {
    found.users = Math.min(s.maxVUs, 50); // threads are dearer here than users are there
  }
  return found;
}

function rateAt(stages, first, at) {
  let from = first;
  let left = at;
  for (const stage of stages) {
    if (left < stage.duration_ms) {
      return from + (stage.target - from) * left / stage.duration_ms;
    }
    left -= stage.duration_ms;
    from = stage.target;
  }
  return from;
}

function arrivals(rate, total_ms) {
  const due = [];
  let owed = 0;
  for (let at = 0; at < total_ms; at++) {
    owed += rate(at) / 1000;
    for (; owed >= 1; owed--) {
      due.push(at);
    }
  }
  return due;
}

// ---- figures ----

function matches(sample, tags) {
  return Object.entries(tags).every(([name, value]) => sample.tags[name] === value);
}

function parsed(name) {
  const found = /^(\w+)(?:\{(.*)\})?$/.exec(name);
  const tags = {};
  for (const pair of found[2] ? found[2].split(',') : []) {
    tags[pair.slice(0, pair.indexOf(':')).trim()] = pair.slice(pair.indexOf(':') + 1).trim();
  }
  return { base: found[1], tags };
}

function percentile(sorted, p) {
  const at = p * (sorted.length - 1);
  const low = Math.floor(at);
  return sorted.length ? sorted[low] + (sorted[Math.ceil(at)] - sorted[low]) * (at - low) : 0;
}

function valuesOf(type, values, stats, seconds) {
  const sum = values.reduce((a, b) => a + b, 0);
  switch (type) {
    case 'counter': return { count: sum, rate: sum / seconds };
    case 'gauge': return { value: values.length ? values[values.length - 1] : 0, min: Math.min(0, ...values), max: Math.max(0, ...values) };
    case 'rate': return { rate: values.length ? sum / values.length : NaN, passes: sum, fails: values.length - sum };
    default: {
      const sorted = [...values].sort((a, b) => a - b);
      const found = { count: values.length, avg: values.length ? sum / values.length : 0, min: sorted[0] || 0, med: percentile(sorted, 0.5), max: sorted[sorted.length - 1] || 0 };
      for (const stat of stats.filter((s) => s.startsWith('p('))) {
        found[stat] = percentile(sorted, Number(stat.slice(2, -1)) / 100);
      }
      return found;
    }
  }
}

function holds(source, values) {
  const found = /^(count|rate|value|avg|min|max|med|p\([\d.]+\))\s*(<=|>=|<|>|==)\s*(-?[\d.]+)$/.exec(source);
  if (!found || !(found[1] in values)) {
    die(EXIT.config, `threshold ${source}: not understood for this metric`);
  }
  const [have, limit] = [values[found[1]], Number(found[3])];
  return { '<=': have <= limit, '>=': have >= limit, '<': have < limit, '>': have > limit, '==': have === limit }[found[2]];
}

function figures(samples, metrics, options, seconds) {
  const known = Object.fromEntries(Object.entries(BUILT_IN).map(([name, type]) => [name, { type, contains: type === 'trend' ? 'time' : 'default' }]));
  Object.assign(known, metrics);
  const names = new Set([...samples.map((s) => s.metric), ...Object.keys(options.thresholds || {})]);
  const found = {};
  for (const name of names) {
    const { base, tags } = parsed(name);
    if (!known[base]) {
      die(EXIT.config, `threshold on ${name}: there is no such metric`);
    }
    const values = valuesOf(known[base].type, samples.filter((s) => s.metric === base && matches(s, tags)).map((s) => s.value), options.summaryTrendStats || [], seconds);
    found[name] = { ...known[base], values };
    for (const source of (options.thresholds || {})[name] || []) {
      found[name].thresholds = { ...found[name].thresholds, [source]: { ok: holds(source, values) } };
    }
  }
  return found;
}

async function main() {
  const [command, ...words] = process.argv.slice(2);
  const asked = arguments_(words);
  if (command !== 'run' || !asked.script) {
    die(EXIT.config, 'usage: k6 run [--vus N] [--duration D] [-e NAME=VALUE]... script.js');
  }
  const folder = lay(asked.script);
  process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  const context = { folder, script: path.basename(asked.script), env: asked.env };
  const all = { samples: [], metrics: {} };
  const done = (out) => {
    all.samples.push(...out.samples);
    Object.assign(all.metrics, out.metrics);
    return out;
  };

  const first = done(await start(context, { what: 'options' }));
  if (first.failed) {
    die(first.failed.code, first.failed.message);
  }
  const { options } = first.result;
  const plan = scenariosOf(options, asked);
  const begun = Date.now();
  const setup = done(await start(context, { what: 'setup' }));
  let code = setup.failed ? setup.failed.code : 0;
  const data = setup.failed ? undefined : JSON.parse(JSON.stringify(setup.result));
  if (setup.failed) {
    process.stderr.write(`stand-in: ${setup.failed.message}\n`);
  } else {
    let vu = 0;
    const begin = Date.now() + 300;
    const users = plan.flatMap((s) => {
      const arrivals = new SharedArrayBuffer(4);
      return Array.from({ length: s.users }, (_, index) => start(context, { what: 'user', vu: ++vu, index, scenario: s, begin: begin + s.start_ms, data, arrivals }));
    });
    for (const out of await Promise.all(users)) {
      code = done(out).failed ? out.failed.code : code;
    }
  }
  done(await start(context, { what: 'teardown', data }));
  const seconds = (Date.now() - begun) / 1000;
  const metrics = figures(all.samples, all.metrics, options, seconds);
  const report = asked.newSummary ? { version: '1', metadata: {}, results: { metrics: [] } }
    : { metrics, root_group: {}, options: {}, setup_data: data, state: { testRunDurationMs: seconds * 1000 } };
  const files = (await start(context, { what: 'handleSummary', data: report })).result;
  for (const [name, text] of Object.entries(files)) {
    name === 'stdout' ? process.stdout.write(text) : fs.writeFileSync(name, text);
  }
  const broken = Object.values(metrics).some((m) => Object.values(m.thresholds || {}).some((t) => !t.ok));
  process.exit(code || (broken ? EXIT.thresholds : 0));
}

main();
