// The module "k6/http": waits for the whole answer, and blocks the user meanwhile.
import { here, record } from './here.js';

function request(method, url, body, params = {}) {
  if (here.stage === 'init') {
    throw new Error('a request in the init context');
  }
  const answer = here.fetch({ method, url, body: body === undefined ? null : body, headers: params.headers || {} });
  const tags = { method, status: String(answer.status), name: url, ...params.tags };
  record('http_reqs', 'counter', 1, tags);
  record('http_req_duration', 'trend', answer.timings.duration, tags, 'time');
  record('http_req_waiting', 'trend', answer.timings.waiting, tags, 'time');
  record('http_req_failed', 'rate', answer.status >= 200 && answer.status < 400 ? 0 : 1, tags);
  return answer;
}

export default {
  get: (url, params) => request('GET', url, undefined, params),
  post: (url, body, params) => request('POST', url, body, params),
};
