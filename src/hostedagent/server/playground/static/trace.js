// The spans of a turn: as a waterfall, and as what each model call was sent and answered.

import { h, timeText } from "./dom.js";
import { block } from "./items.js";

const TOKENS = ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"];

// Returns null where there are no spans.
export function waterfall(spans) {
  if (spans.length === 0) return null;
  const total = Math.max(...spans.map((span) => span.start + span.ms), 1);
  const depths = new Map();
  const rows = spans.map((span) => {
    const depth = depths.has(span.parent) ? depths.get(span.parent) + 1 : 0;
    depths.set(span.id, depth);
    return rowOf(span, depth, total);
  });
  return h("ol", { class: "waterfall" }, rows);
}

function rowOf(span, depth, total) {
  const [input, output] = TOKENS.map((name) => span.attributes[name]);
  const tokens = input === undefined ? "" : ` · ${input} + ${output ?? 0} tokens`;
  const bar = h("span", { class: span.failed ? "bar failed" : "bar" });
  // Style sheets set by script are allowed by the policy; style attributes in markup are not.
  bar.style.marginLeft = `${(100 * span.start) / total}%`;
  bar.style.width = `${Math.max((100 * span.ms) / total, 0.5)}%`;
  const name = h("span", { class: "span-name", title: span.name }, span.name);
  name.style.paddingLeft = `${Math.min(depth, 8) * 0.75}rem`;
  const row = h("details", { class: "fold", ontoggle: () => row.open && row.childElementCount === 1 && row.append(block(span.attributes)) },
    h("summary", {}, name, h("span", { class: "note" }, `${timeText(span.ms)}${tokens}`)));
  return h("li", {}, row, h("span", { class: "track" }, bar));
}

// What the model was sent, call by call. Returns null where nothing was recorded.
export function messagesView(spans) {
  const calls = spans.filter((span) => span.attributes["gen_ai.operation.name"] === "chat");
  if (calls.length === 0) return null;
  return h("div", {}, calls.map((span, n) => {
    const { "gen_ai.input.messages": sent, "gen_ai.output.messages": answered, "gen_ai.system_instructions": instructions } = span.attributes;
    const parts = [["Instructions", instructions], ["Sent", sent], ["Answered", answered]].filter(([, value]) => value !== undefined);
    const body = parts.length === 0 ? [h("p", { class: "hint" }, "Messages are not recorded while spans are exported.")] : parts.flatMap(([title, value]) => [h("h4", {}, title), saidView(value)]);
    return h("section", {}, h("h3", {}, `Call ${n + 1}: ${span.name}, ${timeText(span.ms)}`), body);
  }));
}

// Messages, or parts without a role, as GenAI's semantic conventions write them; what is not like that is shown as JSON.
function saidView(said) {
  if (!Array.isArray(said)) return block(said);
  const messages = said.map((one) => (one.parts ? one : { parts: [one] }));
  return h("ul", { class: "said" }, messages.map(({ role, parts }) =>
    h("li", {}, role ? h("strong", {}, role) : null, parts.map(spoken))));
}

function spoken(part) {
  if (typeof part.content === "string") return h("p", { class: "plain" }, part.content);
  const isCall = part.type === "tool_call";
  if (!isCall && part.type !== "tool_call_response") return block(part);
  return h("div", {}, h("p", { class: "note" }, isCall ? `calls ${part.name}` : "result"), block(isCall ? part.arguments ?? "{}" : part.response ?? part.result ?? ""));
}
