// Output and input items as elements. Each type has one row in `VIEWS`; a type without a row is folded JSON.

import { h, pretty, timeText } from "./dom.js";
import { markdown } from "./markdown.js";
import { questionOf } from "./turn.js";

const VIEWS = {
  message,
  reasoning,
  function_call: (item, context) => (questionOf(item) ? asked(item, questionOf(item).request, context) : call(item, item.name, item.arguments, context)),
  custom_tool_call: (item, context) => call(item, item.name, item.input, context),
  mcp_call: (item, context) => call(item, toolName(item), item.arguments, context),
  mcp_list_tools: (item) => card("Tools", item.server_label, h("ul", {}, (item.tools ?? []).map((tool) => h("li", {}, tool.name)))),
  function_call_output: () => null, // Shown inside its call.
  custom_tool_call_output: () => null,
  mcp_approval_request: (item, context) => asked(item, item.arguments || "{}", context),
  oauth_consent_request: () => null, // Shown as a request at the end of the turn.
  image_generation_call: image,
  code_interpreter_call: code,
  web_search_call: (item) => card("Web search", searched(item.action ?? {}), found(item.action?.sources), item.status),
  file_search_call: (item) => card("File search", (item.queries ?? []).join(", "), found(item.results), item.status),
};

export function itemView(item, context) {
  const view = item.type in VIEWS ? VIEWS[item.type](item, context) : unknown(item, context);
  if (view) view.dataset.type = item.type;
  return view;
}

function unknown(item, { open }) {
  return folded(item.type, item.status?.replace("_", " "), block(item), open, "tool");
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
      return h("p", { class: "plain", dir: "auto" }, part.text);
    case "refusal":
      return h("p", { class: "refusal" }, part.refusal);
    case "input_image":
      return picture(part.image_url, "Attached image");
    case "input_audio":
      return fileView(`data:audio/${part.input_audio.format};base64,${part.input_audio.data}`, "Attached audio");
    case "input_file":
      return fileView(part.file_data ?? part.file_url, part.filename ?? part.file_id ?? part.file_url ?? "file");
    default:
      return block(part);
  }
}

function picture(url, alt) {
  return url?.startsWith("data:") ? h("img", { src: url, alt, class: "picture" }) : linked(url, url ?? alt);
}

// A file that is here is shown or played, or can be saved; one that is elsewhere is a link.
function fileView(url, name) {
  if (!url?.startsWith("data:")) return h("p", { class: "file" }, linked(url, name));
  if (url.startsWith("data:image/")) return picture(url, name);
  if (url.startsWith("data:audio/")) return h("audio", { controls: true, src: url, "aria-label": name });
  return h("p", { class: "file" }, h("a", { href: url, download: name }, name));
}

function linked(url, label) {
  return safeUrl(url) ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, label) : h("span", {}, label);
}

function citations(annotations) {
  if (annotations.length === 0) return null;
  const entries = annotations.map((one) => {
    const label = one.title ?? one.filename ?? one.url ?? one.file_id ?? one.type;
    return h("li", {}, fileView(one.url, label));
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
  const took = duration === undefined ? null : timeText(duration);
  return folded(name, [state, took].filter(Boolean).join(" · "), body, open, "tool");
}

// Was asked of the caller, and is shown once it is answered: until then the request at the end of the turn shows it.
function asked(item, what, { open }) {
  return folded(item.name, item.type === "mcp_approval_request" ? "asked for approval" : "asked you", [block(what)], open, "tool asked");
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

// A search has queries; a page that is opened or searched has an address.
function searched({ query, queries, url, pattern }) {
  return [query ?? (queries ?? []).join(", "), pattern, url].filter(Boolean).join(" · ");
}

function found(results) {
  if (!results?.length) return null;
  return h("ul", { class: "found" }, results.map((one) => {
    const name = one.title ?? one.filename ?? one.file_id ?? one.url;
    return h("li", {}, name ? linked(one.url, name) : null, one.text ? h("p", { class: "note" }, one.text) : null);
  }));
}

export function block(value) {
  return h("pre", { tabindex: "0" }, h("code", {}, pretty(value)));
}

function folded(title, note, body, open, kind) {
  return h("details", { class: `card ${kind}`, open }, h("summary", {}, h("strong", {}, title), note ? h("span", { class: "note" }, note) : null), body);
}

function card(title, note, body, status) {
  const state = status?.replace("_", " ");
  return h("div", { class: "card" }, h("div", { class: "head" }, h("strong", {}, title), note ? h("span", { class: "what" }, note) : null, state ? h("span", { class: "note" }, state) : null), body);
}
