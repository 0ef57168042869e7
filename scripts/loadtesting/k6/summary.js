// summary.js -- handleSummary() of both scripts: a table for people on stdout, JSON and (asked for by SUMMARY_JUNIT=FILE) JUnit for
// machines. Written here since k6 prints nothing of its own once a script has handleSummary(), and its library for that is on the network.

const TREND_COLUMNS = ['count', 'avg', 'min', 'med', 'p(90)', 'p(95)', 'p(99)', 'max'];
const EXPLAINED = {
  llm_requests: 'chat requests',
  llm_failed: 'share of them that failed',
  llm_duration: 'good answers, to the last byte',
  llm_ttfb: 'to the first byte of the head: not TTFT',
  gateway_ttft_p50_ms: 'TTFT by the gateway, median, ms; interpolated in its buckets',
  gateway_ttft_p95_ms: 'TTFT by the gateway, p95, ms; interpolated in its buckets',
  llm_gateway_overhead: 'what the gateway says it added to a plain answer',
  llm_stream_bytes: 'bytes of a stream',
  llm_stream_chunks: 'events with text in a stream',
  llm_output_tokens: 'tokens answered',
  llm_tokens_per_second: 'tokens over the whole duration',
  dropped_iterations: 'requests not sent in time: users were lacking',
};

function round(value) {
  const number = Number(value);
  return !Number.isFinite(number) ? '-' : Number.isInteger(number) ? String(number) : number.toPrecision(4);
}

function valuesOf(metric) {
  const v = metric.values;
  switch (metric.type) {
    case 'counter': return `${round(v.count)}  (${round(v.rate)}/s)`;
    case 'rate': return `${round(100 * v.rate)} %  (${v.passes} of ${v.passes + v.fails})`;
    case 'gauge': return round(v.value);
    default: {
      const unit = metric.contains === 'time' ? ' ms' : '';
      return TREND_COLUMNS.filter((c) => v[c] !== undefined).map((c) => `${c}=${round(v[c])}${c === 'count' ? '' : unit}`).join('  ');
    }
  }
}

// Those that pass always only make k6 keep a tag's figures.
function isReal(source) {
  return source !== 'count>=0' && source !== 'max>=0';
}

function thresholdsOf(data) {
  const found = [];
  for (const name of Object.keys(data.metrics).sort()) {
    const of = data.metrics[name].thresholds || {};
    for (const source of Object.keys(of).filter(isReal)) {
      found.push({ name, source, ok: of[source].ok });
    }
  }
  return found;
}

function table(data) {
  const lines = ['', 'thresholds'];
  for (const { name, source, ok } of thresholdsOf(data)) {
    lines.push(`  ${ok ? 'ok    ' : 'FAILED'} ${name}: ${source}`);
  }
  lines.push('', 'figures');
  for (const name of Object.keys(data.metrics).sort()) {
    const says = EXPLAINED[name.split('{')[0]];
    if (says) {
      lines.push(`  ${name.padEnd(34)} ${valuesOf(data.metrics[name])}${name.includes('{') ? '' : `   -- ${says}`}`);
    }
  }
  lines.push('', `run time ${round(data.state.testRunDurationMs / 1000)} s`, '', '');
  return lines.join('\n');
}

function xml(textual) {
  return textual.replace(/[<>&"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

function junit(data, title) {
  const all = thresholdsOf(data);
  const cases = all.map(({ name, source, ok }) => {
    const open = `  <testcase classname="${xml(title)}" name="${xml(`${name}: ${source}`)}"`;
    return ok ? `${open}/>` : `${open}><failure message="threshold failed">${xml(valuesOf(data.metrics[name]))}</failure></testcase>`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name="${xml(title)}" tests="${all.length}" `
    + `failures="${all.filter((t) => !t.ok).length}">\n${cases.join('\n')}\n</testsuite>\n`;
}

// The key is in no metric; setup_data has the models and a histogram.
export function summary(data, title) {
  const json = __ENV.SUMMARY_JSON || `${title}-summary.json`;
  const files = { [json]: `${JSON.stringify(data, null, 1)}\n` };
  if (!data.metrics || !data.state) { // k6 --new-machine-readable-summary, a format that k6 still works on
    files.stdout = `\nk6's new summary format: no table and no JUnit are made of it; it is in ${json}\n`;
    return files;
  }
  files.stdout = table(data);
  if (__ENV.SUMMARY_JUNIT) {
    files[__ENV.SUMMARY_JUNIT] = junit(data, title);
  }
  return files;
}
