// A thread with one JavaScript runtime: a user of k6 (one that iterates), or the one that runs setup(), teardown() and handleSummary().
import { pathToFileURL } from 'node:url';
import { MessageChannel, Worker, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';

const { folder, script, env, job } = workerData;
const { here, Aborted } = await import(pathToFileURL(`${folder}/node_modules/k6/here.js`));

// k6 has none of these.
const wired = blockingFetch();
for (const name of ['URL', 'URLSearchParams', 'TextEncoder', 'TextDecoder', 'fetch', 'structuredClone', 'performance', 'Buffer', 'process']) {
  globalThis[name] = undefined;
}
globalThis.__ENV = env;

function blockingFetch() {
  const { port1, port2 } = new MessageChannel();
  const flag = new SharedArrayBuffer(4);
  const worker = new Worker(new URL('./wire.mjs', import.meta.url), { workerData: { port: port2, flag }, transferList: [port2] });
  const woken = new Int32Array(flag);
  return {
    stop: () => worker.terminate(),
    fetch: (request) => {
      Atomics.store(woken, 0, 0);
      port1.postMessage(request);
      Atomics.wait(woken, 0, 0);
      return receiveMessageOnPort(port1).message;
    },
  };
}

// The number of users, or of requests a second, that stages ask for at a time.
function target(stages, first, ms) {
  let from = first;
  let left = ms;
  for (const { duration_ms, target: to } of stages) {
    if (left < duration_ms) {
      return from + (to - from) * left / duration_ms;
    }
    left -= duration_ms;
    from = to;
  }
  return from;
}

function pause(ms) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function iterate(module, data) {
  module.default(data);
  here.iteration += 1;
  here.samples.push({ metric: 'iterations', value: 1, tags: { scenario: here.scenario } });
}

function byUsers(module, { scenario, index, begin, data }) {
  while (Date.now() < begin + scenario.total_ms) {
    if (scenario.stages && target(scenario.stages, scenario.startVUs, Date.now() - begin) <= index) {
      pause(10);
    } else {
      iterate(module, data);
    }
  }
}

// Each takes the next arrival; one that is over is dropped.
function byArrivals(module, { scenario, begin, data, arrivals }) {
  const next = new Int32Array(arrivals);
  for (;;) {
    const due = scenario.due_ms[Atomics.add(next, 0, 1)];
    if (due === undefined) {
      return;
    }
    const late = Date.now() - begin - due;
    if (late > 20) {
      here.samples.push({ metric: 'dropped_iterations', value: 1, tags: { scenario: here.scenario } });
      continue;
    }
    pause(Math.max(0, -late));
    iterate(module, data);
  }
}

const out = { samples: here.samples, metrics: here.metrics, result: null, failed: null };
try {
  const module = await import(pathToFileURL(`${folder}/${script}`));
  Object.assign(here, { fetch: wired.fetch, vu: job.vu || 0, scenario: job.scenario ? job.scenario.name : job.what, stage: job.what });
  if (job.what === 'options') {
    out.result = { options: module.options || {}, exports: Object.keys(module) };
  } else if (job.what === 'user') {
    pause(Math.max(0, job.begin - Date.now()));
    (job.scenario.due_ms ? byArrivals : byUsers)(module, job);
  } else if (module[job.what]) {
    out.result = module[job.what](job.data);
  }
} catch (error) {
  out.failed = { code: error instanceof Aborted ? 108 : 107, message: String(error.message || error) };
}
parentPort.postMessage(out);
wired.stop();
