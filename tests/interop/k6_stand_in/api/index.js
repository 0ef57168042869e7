// The module "k6".
import { here, record } from './here.js';

export function check(value, sets, tags) {
  let all = true;
  for (const [name, test] of Object.entries(sets)) {
    const ok = Boolean(test(value));
    record('checks', 'rate', ok ? 1 : 0, { ...tags, check: name });
    all = all && ok;
  }
  return all;
}

export function sleep(seconds) {
  if (here.stage === 'init') {
    throw new Error('sleep() in the init context');
  }
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000);
}
