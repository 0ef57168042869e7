// litellm-load-test.js -- load on an OpenAI-compatible gateway (weir, LiteLLM). SCENARIO says which, several run one after the other:
//
//   gradual    up to VUS users in three steps, a plateau, and down again
//   spike      few users, of a sudden VUS, and few again
//   constant   VUS users all the time
//   rate       RATE requests/s, however slow the answers are: users are added up to MAX_VUS, and what they cannot take is dropped
//   ramp-rate  from 0 up to RATE requests/s
//
//     k6 run litellm-load-test.js                                     k6 run -e SCENARIO=gradual,spike -e VUS=100 litellm-load-test.js
//     k6 run --vus 50 --duration 10m litellm-load-test.js             k6 run -e SCENARIO=rate -e RATE=200 -e DURATION=2m litellm-load-test.js
//
// --duration, --iterations and --stage on the command line replace the scenarios altogether; k6 warns of it. --vus alone does nothing
// beside scenarios, in k6's design: say -e VUS=50. In users' scenarios (all but the rates) a slow gateway is asked less often: what
// callers who do not wait would have met is told by the rates alone. README.md tells all settings.
import { sleep } from 'k6';
import exec from 'k6/execution';
import * as gateway from './common.js';
import { summary } from './summary.js';

const VUS = gateway.number('VUS', '20');
const RATE = gateway.number('RATE', '20');
const MAX_VUS = gateway.number('MAX_VUS', '500');
const DURATION_S = gateway.seconds('DURATION', '5m');
const THINK_MIN_S = gateway.number('THINK_MIN_S', '1');
const THINK_MAX_S = gateway.number('THINK_MAX_S', '3');
const PATIENCE = '60s'; // for answers under way when a scenario ends

// The time is told in shares of DURATION.
function stages(...steps) {
  return steps.map(([share, target]) => ({ duration: `${Math.max(1, Math.round(share * DURATION_S * 1000))}ms`, target: Math.round(target) }));
}

function rate(executor, more) {
  return Object.assign({ executor, timeUnit: '1s', preAllocatedVUs: Math.min(MAX_VUS, Math.max(1, VUS)), maxVUs: MAX_VUS, gracefulStop: PATIENCE }, more);
}

/** @type {{[name: string]: () => import('k6/options').Scenario}} */
const SCENARIOS = {
  gradual: () => ({
    executor: 'ramping-vus', startVUs: 1, gracefulStop: PATIENCE, gracefulRampDown: PATIENCE,
    stages: stages([0.15, VUS / 4], [0.15, VUS / 2], [0.2, VUS], [0.4, VUS], [0.1, 0]),
  }),
  spike: () => ({
    executor: 'ramping-vus', startVUs: Math.ceil(VUS / 10), gracefulStop: PATIENCE, gracefulRampDown: PATIENCE,
    stages: stages([0.3, Math.ceil(VUS / 10)], [0.02, VUS], [0.3, VUS], [0.02, Math.ceil(VUS / 10)], [0.36, Math.ceil(VUS / 10)]),
  }),
  constant: () => ({ executor: 'constant-vus', vus: VUS, duration: `${DURATION_S}s`, gracefulStop: PATIENCE }),
  rate: () => rate('constant-arrival-rate', { rate: RATE, duration: `${DURATION_S}s` }),
  'ramp-rate': () => rate('ramping-arrival-rate', { startRate: 0, stages: stages([0.8, RATE], [0.2, RATE]) }),
};

function scenarios() {
  /** @type {{[name: string]: import('k6/options').Scenario}} */
  const chosen = {};
  let start = 0;
  for (const name of (__ENV.SCENARIO || 'gradual').split(',').map((n) => n.trim())) {
    if (!SCENARIOS[name]) {
      throw new Error(`SCENARIO=${name}: there are ${Object.keys(SCENARIOS).join(', ')}`);
    }
    chosen[name] = Object.assign(SCENARIOS[name](), { startTime: `${start}s` });
    start += DURATION_S;
  }
  return chosen;
}

/** @type {import('k6/options').Options} */
export const options = {
  scenarios: scenarios(),
  thresholds: Object.assign(gateway.thresholds(), {
    dropped_iterations: [`count<=${gateway.number('MAX_DROPPED', '0')}`],
  }),
  summaryTrendStats: gateway.summaryTrendStats,
};

export function setup() {
  return gateway.begin(3);
}

export default function (data) {
  gateway.ask(data.mix);
  if (!exec.scenario.name.endsWith('rate')) {
    sleep(THINK_MIN_S + Math.random() * Math.max(0, THINK_MAX_S - THINK_MIN_S));
  }
}

export function teardown(data) {
  gateway.end(data);
}

export function handleSummary(data) {
  return summary(data, 'litellm-load-test');
}
