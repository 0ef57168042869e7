// The question of bench/reading.py, answered as one writes it in Node: JSON.parse of each line.
//     node plain.mjs FILE weir|litellm
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

const [file, shape] = process.argv.slice(2);
const groups = new Map();
for await (const line of createInterface({ input: createReadStream(file, { highWaterMark: 1 << 20 }) })) {
  const r = JSON.parse(line);
  if (shape === "weir" && r.event && r.event !== "request") continue;
  const model = shape === "weir" ? r.model : r.model_group || r.model;
  const provider = shape === "weir" ? r.provider : r.custom_llm_provider;
  const latency = shape === "weir" ? r.latency_ms : (r.endTime - r.startTime) * 1000;
  const key = `${model}\t${provider}`;
  let g = groups.get(key);
  if (!g) groups.set(key, (g = { requests: 0, failure: 0, tokens: 0, latencies: [] }));
  g.requests++;
  g.failure += r.status === "failure";
  g.tokens += r.total_tokens ?? 0;
  if (latency !== undefined) g.latencies.push(latency);
}
for (const [key, g] of [...groups].sort((a, b) => b[1].requests - a[1].requests)) {
  const sorted = Float64Array.from(g.latencies).sort();
  const at = (q) => sorted[Math.max(Math.ceil(q * sorted.length), 1) - 1]?.toFixed(3);
  console.log([key, g.requests, g.failure, at(0.5), at(0.95), at(0.99), g.tokens].join("\t"));
}
