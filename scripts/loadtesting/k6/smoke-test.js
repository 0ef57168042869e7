// smoke-test.js -- is the gateway up, and does it answer as it should? Five users for 30 seconds, one model (the first that the gateway
// offers), plain and streamed. Exit code 0: all good; 99: a threshold failed; 108: no gateway, no model or a wrong key.
//
//     k6 run smoke-test.js        k6 run --vus 1 --duration 5s -e MODELS=llama3 smoke-test.js
import { sleep } from 'k6';
import * as gateway from './common.js';
import { summary } from './summary.js';

const THINK_S = gateway.number('THINK_S', '0.5');

/** @type {import('k6/options').Options} */
export const options = {
  vus: 5,
  duration: '30s',
  thresholds: gateway.thresholds(),
  summaryTrendStats: gateway.summaryTrendStats,
};

export function setup() {
  return gateway.begin(1);
}

export default function (data) {
  gateway.ask(data.mix);
  sleep(THINK_S);
}

export function teardown(data) {
  gateway.end(data);
}

export function handleSummary(data) {
  return summary(data, 'smoke-test');
}
