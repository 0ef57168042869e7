// Parses LogQL with the grammar of Grafana's own editor: reads a JSON list of expressions, writes a list of trees [name, text, [children]].
// An expression that is wrong has a node named ⚠ somewhere.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { parser } = createRequire(new URL("../package.json", import.meta.url))("@grafana/lezer-logql");

const tree = (node, text) => {
  const children = [];
  for (let child = node.firstChild; child; child = child.nextSibling) children.push(tree(child, text));
  return [node.name, text.slice(node.from, node.to), children];
};

const expressions = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(expressions.map((e) => tree(parser.parse(e).topNode, e))));
