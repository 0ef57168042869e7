// What the modules of one JavaScript runtime share: who it is, and the samples it took.
export const here = { stage: 'init', scenario: 'default', vu: 0, iteration: 0, samples: [], metrics: {}, fetch: null };

export function record(metric, type, value, tags = {}, contains = 'default') {
  here.metrics[metric] = { type, contains };
  here.samples.push({ metric, value: Number(value), tags: { scenario: here.scenario, ...tags } });
}

export class Aborted extends Error {}
