// The module "k6/metrics". A metric must be made in the init context, as k6 demands.
import { here, record } from './here.js';

function kind(type) {
  return class {
    constructor(name, isTime = false) {
      if (here.stage !== 'init') {
        throw new Error('metrics must be declared in the init context');
      }
      this.name = name;
      this.contains = isTime ? 'time' : 'default';
      here.metrics[name] = { type, contains: this.contains };
    }

    add(value, tags) {
      record(this.name, type, value, tags, this.contains);
    }
  };
}

export const Counter = kind('counter');
export const Gauge = kind('gauge');
export const Rate = kind('rate');
export const Trend = kind('trend');
