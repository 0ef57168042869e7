// Parses expressions with the grammars that Grafana's own editors use: PromQL and LogQL.
// Reads a JSON list of {lang, expr, place} on stdin (lang: promql or logql), Grafana's variables already replaced. Prints a JSON list
// with, for each expression, an object: errors (places that are no PromQL or LogQL), and for PromQL the metrics, functions and
// nested parts that tests reason about.
import {parser as logql} from "@grafana/lezer-logql";
import {parser as promql} from "@prometheus-io/lezer-promql";

const PARSERS = {promql, logql};

function read(stream) {
  return new Promise((resolve) => {
    let text = "";
    stream.on("data", (piece) => (text += piece));
    stream.on("end", () => resolve(text));
  });
}

/** Names of functions and aggregations around a node, innermost first. */
function around(node, expr) {
  const names = [];
  for (let up = node.parent; up; up = up.parent) {
    if (up.name === "FunctionCall" || up.name === "AggregateExpr") {
      const name = up.firstChild;
      names.push(expr.slice(name.from, name.to));
    }
  }
  return names;
}

function examine({lang, expr}) {
  const errors = [], metrics = [], calls = [];
  if (!PARSERS[lang]) return {errors: [`no grammar of ${lang}`], metrics, calls};
  PARSERS[lang].parse(expr).iterate({
    enter(ref) {
      const node = ref.node;
      if (node.type.isError) errors.push(`at ${node.from}: ...${expr.slice(Math.max(0, node.from - 30), node.from)} <here> ${expr.slice(node.from, node.from + 30)}`);
      if (lang !== "promql") return;
      if (node.name === "VectorSelector") {
        const name = node.getChild("Identifier");
        metrics.push({name: name ? expr.slice(name.from, name.to) : "", text: expr.slice(node.from, node.to), around: around(node, expr),
                      ranged: node.parent?.name === "MatrixSelector"});
      }
      if (node.name === "FunctionCall" || node.name === "AggregateExpr") {
        const name = node.firstChild;
        calls.push({name: expr.slice(name.from, name.to), text: expr.slice(node.from, node.to)});
      }
    },
  });
  return {errors, metrics, calls};
}

console.log(JSON.stringify(JSON.parse(await read(process.stdin)).map(examine)));
