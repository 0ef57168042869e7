// The module "k6/execution".
import { Aborted, here } from './here.js';

export default {
  scenario: { get name() { return here.scenario; } },
  vu: {
    get idInTest() { return here.vu; },
    get iterationInInstance() { return here.iteration; },
  },
  test: { abort(reason) { throw new Aborted(reason); } },
};
