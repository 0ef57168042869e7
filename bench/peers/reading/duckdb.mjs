// The question of bench/reading.py, asked of DuckDB: typed columns, so that only these are read; all threads it wants.
//     node duckdb.mjs FILE weir|litellm
import { createRequire } from "node:module";
const require = createRequire(process.cwd() + "/");
const { DuckDBInstance } = require("@duckdb/node-api");

const [file, shape] = process.argv.slice(2);
const columns = {
  weir: `event: 'VARCHAR', model: 'VARCHAR', provider: 'VARCHAR', status: 'VARCHAR', latency_ms: 'DOUBLE', total_tokens: 'BIGINT'`,
  litellm: `startTime: 'DOUBLE', endTime: 'DOUBLE', model: 'VARCHAR', model_group: 'VARCHAR', custom_llm_provider: 'VARCHAR', status: 'VARCHAR', total_tokens: 'BIGINT'`,
}[shape];
const lines = {
  weir: `SELECT model, provider, status, latency_ms, total_tokens FROM read_ndjson('${file}', columns={${columns}}) WHERE event = 'request' OR event IS NULL`,
  litellm: `SELECT coalesce(nullif(model_group, ''), model) AS model, custom_llm_provider AS provider, status,
            (endTime - startTime) * 1000 AS latency_ms, total_tokens FROM read_ndjson('${file}', columns={${columns}})`,
}[shape];
const connection = await (await DuckDBInstance.create(":memory:")).connect();
const result = await connection.runAndReadAll(`
  SELECT model, provider, count(*) AS requests, count(*) FILTER (status = 'failure') AS failure,
         quantile_disc(latency_ms, [0.5, 0.95, 0.99]) AS latency, sum(total_tokens) AS tokens
  FROM (${lines}) GROUP BY ALL ORDER BY requests DESC, model, provider`);
for (const [model, provider, requests, failure, latency, tokens] of result.getRows())
  console.log([model, provider, requests, failure, ...(latency?.items ?? []).map((v) => v.toFixed(3)), tokens].join("\t"));
