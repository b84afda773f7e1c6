// The graph of a workflow as SVG: executors in layers, and what has run, runs and failed in the turn that is shown.

import { h, svg, timeText } from "./dom.js";

const WIDTH = 150;
const HEIGHT = 46;
const GAP_X = 24;
const GAP_Y = 44;
const WORDS = { running: "runs", done: "ran", failed: "failed", idle: "has not run" };

// What each executor did, from the spans of a turn: id -> `{ state, ms, count }`.
export function statesOf(spans) {
  const states = new Map();
  for (const span of spans) {
    const id = span.attributes["executor.id"];
    if (!id || !span.name.startsWith("executor.process")) continue;
    const before = states.get(id) ?? { state: "done", ms: 0, count: 0 };
    const state = span.running ? "running" : span.failed ? "failed" : before.state === "running" ? "running" : "done";
    states.set(id, { state, ms: before.ms + span.ms, count: before.count + 1 });
  }
  return states;
}

// Draws the graph; the list below it says the same in words.
export function graphView({ nodes, edges }, states) {
  const places = placesOf(nodes, edges);
  const columns = Math.max(...[...places.values()].map(({ size }) => size));
  const rows = Math.max(...[...places.values()].map(({ layer }) => layer)) + 1;
  const width = columns * (WIDTH + GAP_X) + GAP_X;
  const height = rows * (HEIGHT + GAP_Y);
  const centre = (id) => {
    const { layer, index, size } = places.get(id);
    return { x: width / 2 + (index - (size - 1) / 2) * (WIDTH + GAP_X), y: layer * (HEIGHT + GAP_Y) + GAP_Y / 2 + HEIGHT / 2 };
  };
  const ran = (id) => states.has(id);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "graph", "aria-hidden": "true" },
    svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { d: "M0 0 L8 4 L0 8 z" }))),
    edges.map((edge) => edgeView(edge, centre(edge.from), centre(edge.to), ran(edge.from) && ran(edge.to))),
    nodes.map((node) => nodeView(node, centre(node.id), states.get(node.id)?.state ?? "idle")));
  return h("div", {}, h("div", { class: "graph-frame" }, picture), h("ul", { class: "executors", "aria-label": "Executors" }, nodes.map((node) => h("li", {}, said(node, states.get(node.id))))));
}

function said(node, found) {
  const times = found?.count > 1 ? `, ${found.count} times` : "";
  const took = found ? `${times}, ${timeText(found.ms)}` : "";
  return `${node.id} ${WORDS[found?.state ?? "idle"]}${took}`;
}

function nodeView(node, { x, y }, state) {
  const kind = node.is_start ? " start" : node.is_output ? " output" : "";
  return svg("g", { class: `node ${state}${kind}`, "data-executor": node.id },
    svg("rect", { x: x - WIDTH / 2, y: y - HEIGHT / 2, width: WIDTH, height: HEIGHT, rx: node.is_start ? HEIGHT / 2 : 8 }),
    svg("text", { x, y: y - 3, class: "name" }, short(node.id)),
    svg("text", { x, y: y + 14, class: "type" }, short(node.type)));
}

function edgeView(edge, from, to, isLit) {
  const [y1, y2] = [from.y + HEIGHT / 2, to.y - HEIGHT / 2];
  const side = Math.max(from.x, to.x) + WIDTH / 2 + GAP_X / 2;
  // Back and sideways it goes around the right side.
  const path = y2 > y1
    ? `M${from.x} ${y1} C${from.x} ${y1 + GAP_Y / 2} ${to.x} ${y2 - GAP_Y / 2} ${to.x} ${y2}`
    : `M${from.x + WIDTH / 2} ${from.y} C${side} ${from.y} ${side} ${to.y} ${to.x + WIDTH / 2} ${to.y}`;
  const label = edge.label ? svg("text", { x: (from.x + to.x) / 2, y: (y1 + y2) / 2 + 4, class: "type" }, short(edge.label)) : null;
  return svg("g", { class: isLit ? "edge done" : "edge" }, svg("path", { d: path, "marker-end": "url(#arrow)" }), label);
}

const short = (text) => (text.length > 19 ? `${text.slice(0, 18)}…` : text);

// The layer of each node is its longest way from the start, without the edges that lead back.
function placesOf(nodes, edges) {
  const next = new Map(nodes.map(({ id }) => [id, edges.filter((edge) => edge.from === id).map((edge) => edge.to)]));
  const ordered = [];
  const seen = new Map(); // id -> whether its search has ended
  const back = new Set();
  const visit = (id) => {
    seen.set(id, false);
    for (const target of next.get(id)) {
      if (seen.get(target) === false) back.add(`${id}\n${target}`);
      else if (!seen.has(target)) visit(target);
    }
    seen.set(id, true);
    ordered.unshift(id);
  };
  [...nodes].sort((a, b) => Number(b.is_start) - Number(a.is_start)).forEach(({ id }) => seen.has(id) || visit(id));
  const layers = new Map(ordered.map((id) => [id, 0]));
  for (const id of ordered) {
    for (const target of next.get(id)) {
      if (!back.has(`${id}\n${target}`)) layers.set(target, Math.max(layers.get(target), layers.get(id) + 1));
    }
  }
  const places = new Map();
  for (const layer of new Set(layers.values())) {
    const row = nodes.filter(({ id }) => layers.get(id) === layer);
    row.forEach(({ id }, index) => places.set(id, { layer, index, size: row.length }));
  }
  return places;
}
