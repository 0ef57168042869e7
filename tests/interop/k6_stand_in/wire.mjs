// A thread that asks for a user that blocks: takes a request, wakes the user when the whole answer is there.
import http from 'node:http';
import { workerData } from 'node:worker_threads';

const { port, flag } = workerData;
const agent = new http.Agent({ keepAlive: true });
const woken = new Int32Array(flag);

function answer(value) {
  port.postMessage(value);
  Atomics.store(woken, 0, 1);
  Atomics.notify(woken, 0);
}

port.on('message', ({ method, url, body, headers }) => {
  const begin = performance.now();
  const since = () => performance.now() - begin;
  const fail = (error) => answer({ status: 0, error: String(error.message), body: null, headers: {}, timings: { duration: since(), waiting: 0 } });
  const asking = http.request(url, { method, headers: { ...headers, 'Content-Length': Buffer.byteLength(body || '') }, agent }, (got) => {
    const waiting = since();
    const pieces = [];
    got.on('data', (piece) => pieces.push(piece));
    got.on('error', fail);
    got.on('end', () => answer({ status: got.statusCode, body: Buffer.concat(pieces).toString(), headers: got.headers, timings: { duration: since(), waiting } }));
  });
  asking.on('error', fail);
  asking.end(body || '');
});
