// Output and input items as elements. Each type has one row in `VIEWS`; a type without a row is shown as JSON.

import { h, pretty } from "./dom.js";
import { markdown } from "./markdown.js";
import { questionOf } from "./turn.js";

const VIEWS = {
  message,
  reasoning,
  function_call: (item, context) => (questionOf(item) ? null : call(item, item.name, item.arguments, context)),
  custom_tool_call: (item, context) => call(item, item.name, item.input, context),
  mcp_call: (item, context) => call(item, toolName(item), item.arguments, context),
  mcp_list_tools: (item) => card("Tools", item.server_label, h("ul", {}, item.tools.map((tool) => h("li", {}, tool.name)))),
  function_call_output: () => null, // Shown inside its call.
  custom_tool_call_output: () => null,
  mcp_approval_request: () => null, // Shown as a request at the end of the turn.
  oauth_consent_request: () => null,
  image_generation_call: image,
  code_interpreter_call: code,
  web_search_call: (item) => card("Web search", searched(item), null, item.status),
  file_search_call: (item) => card("File search", (item.queries ?? []).join(", "), results(item), item.status),
};

export function itemView(item, context) {
  const view = item.type in VIEWS ? VIEWS[item.type](item, context) : card(item.type, null, block(item), item.status);
  if (view) view.dataset.type = item.type;
  return view;
}

function message(item) {
  return h("div", { class: "message" }, (item.content ?? []).map(partView));
}

// One part of a message, of the caller or of the agent.
export function partView(part) {
  switch (part.type) {
    case "output_text":
      return h("div", {}, markdown(part.text), citations(part.annotations ?? []));
    case "input_text":
      return h("p", { class: "plain" }, part.text);
    case "refusal":
      return h("p", { class: "refusal" }, part.refusal);
    case "input_image":
      return picture(part.image_url, "Attached image");
    case "input_audio":
      return h("audio", { controls: true, src: `data:audio/${part.input_audio.format};base64,${part.input_audio.data}` });
    case "input_file":
      return h("p", { class: "file" }, `Attached: ${part.filename ?? part.file_id ?? part.file_url ?? "file"}`);
    default:
      return block(part);
  }
}

function picture(url, alt) {
  if (url?.startsWith("data:")) return h("img", { src: url, alt, class: "picture" });
  return h("a", { href: safeUrl(url), target: "_blank", rel: "noopener noreferrer" }, url ?? alt);
}

function citations(annotations) {
  if (annotations.length === 0) return null;
  const entries = annotations.map((one) => {
    const label = one.title ?? one.filename ?? one.url ?? one.file_id ?? one.type;
    return h("li", {}, one.url ? h("a", { href: safeUrl(one.url), target: "_blank", rel: "noopener noreferrer" }, label) : label);
  });
  return h("ol", { class: "citations", "aria-label": "Sources" }, entries);
}

export function safeUrl(url) {
  return /^https?:\/\//i.test(url ?? "") ? url : null;
}

function reasoning(item, { open }) {
  const parts = [...(item.summary ?? []), ...(item.content ?? [])].filter(Boolean);
  if (parts.length === 0) return null;
  return folded("Reasoning", null, parts.map((part) => markdown(part.text ?? "")), open, "reasoning");
}

const toolName = (item) => (item.server_label && item.server_label !== "agent" ? `${item.server_label} · ${item.name}` : item.name);

function call(item, name, input, { outputs, duration, open }) {
  const output = item.output ?? outputs.get(item.call_id)?.output;
  const body = [h("h4", {}, "Arguments"), block(input || "{}")];
  if (output !== undefined && output !== null) body.push(h("h4", {}, "Result"), resultView(output));
  if (item.error) body.push(h("h4", {}, "Error"), block(item.error));
  const state = item.error ? "failed" : output !== undefined && output !== null ? "completed" : item.status?.replace("_", " ");
  const took = duration === undefined ? null : `${Math.round(duration)} ms`;
  return folded(name, [state, took].filter(Boolean).join(" · "), body, open, "tool");
}

function resultView(output) {
  const parts = Array.isArray(output) ? output : partsOf(output);
  return parts ? h("div", {}, parts.map(partView)) : block(output);
}

// The content parts that an mcp_call holds as JSON, when its result is more than text.
function partsOf(output) {
  if (typeof output !== "string" || !output.startsWith("[{")) return null;
  try {
    const parts = JSON.parse(output);
    return parts.every((part) => /^input_(text|image|file|audio)$/.test(part?.type)) ? parts : null;
  } catch {
    return null;
  }
}

function image(item) {
  const view = item.result ? picture(dataUrl(item.result), "Generated image") : h("p", {}, "Creating an image …");
  return h("figure", {}, view, item.revised_prompt ? h("figcaption", {}, item.revised_prompt) : null);
}

function dataUrl(result) {
  if (result.startsWith("data:")) return result;
  const kinds = { "/9j/": "jpeg", R0lG: "gif", UklG: "webp" };
  return `data:image/${kinds[result.slice(0, 4)] ?? "png"};base64,${result}`;
}

function code(item) {
  const outputs = (item.outputs ?? []).map((one) => (one.type === "image" ? picture(one.url, "Output of the code") : block(one.logs ?? one)));
  return folded("Code", item.status, [block(item.code ?? ""), ...outputs], true, "tool");
}

function searched(item) {
  return item.action?.query ?? (item.action?.queries ?? []).join(", ");
}

function results(item) {
  const found = item.results ?? [];
  return found.length === 0 ? null : h("ul", {}, found.map((one) => h("li", {}, one.filename ?? one.file_id)));
}

export function block(value) {
  return h("pre", { tabindex: "0" }, h("code", {}, pretty(value)));
}

function folded(title, note, body, open, kind) {
  return h("details", { class: `card ${kind}`, open }, h("summary", {}, h("strong", {}, title), note ? h("span", { class: "note" }, note) : null), body);
}

function card(title, note, body, status) {
  return h("div", { class: "card" }, h("strong", {}, title), note ? ` ${note}` : null, status ? h("span", { class: "note" }, status) : null, body);
}
