// What goes over the wire: events with their time and size, the request as code, the response object, the settings.

import { button, copy, h, timeText } from "./dom.js";
import { graphView, statesOf } from "./graph.js";
import { block } from "./items.js";
import { messagesView, waterfall } from "./trace.js";

const TABS = ["Events", "Request", "Response", "Trace", "Model", "Host"];
const LOOK_MS = 250; // How often the graph of a running turn is drawn anew.
const SHOWN = 2000; // Older events of a long turn are counted, not shown.

export class Inspector {
  #log = null;
  #tab = "Events";
  #filter = "";
  #drawn = 0;
  #bytes = 0;
  #response = null;
  #looking = null;

  constructor(root, settings) {
    this.settings = settings;
    this.body = h("div", { class: "inspector-body", role: "tabpanel" });
    this.graph = settings.workflow?.graph ?? null;
    this.names = this.graph ? ["Graph", ...TABS] : TABS;
    this.tabs = this.names.map((name) => h("button", { type: "button", role: "tab", onclick: () => this.#select(name) }, name));
    root.append(h("div", { role: "tablist", "aria-label": "Inspector", onkeydown: (event) => this.#move(event) }, this.tabs), this.body);
    this.#select(this.names[0]);
  }

  // Shows a turn: `log` is `{ body, url, headers, events, response }`.
  show(log) {
    this.#log = log;
    this.#draw();
  }

  // Something was added to the log that is shown.
  update(log) {
    if (log !== this.#log) return;
    if (this.#tab === "Events") this.#appendEvents();
    else if (this.#tab === "Graph") this.#looking ??= setTimeout(() => this.#drawGraph(), LOOK_MS);
    else if (this.#tab === "Response" && log.response !== this.#response) this.#draw();
  }

  // The turn of this log has ended.
  ended(log) {
    if (log === this.#log) this.#draw();
  }

  #select(name) {
    this.#tab = name;
    this.tabs.forEach((tab) => {
      tab.setAttribute("aria-selected", String(tab.textContent === name));
      tab.tabIndex = tab.textContent === name ? 0 : -1;
    });
    this.#draw();
  }

  #move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const next = (this.names.indexOf(this.#tab) + step + this.names.length) % this.names.length;
    this.#select(this.names[next]);
    this.tabs[next].focus();
  }

  #draw() {
    if (this.#tab === "Host") return this.body.replaceChildren(block(this.settings));
    if (this.#tab === "Graph") return this.#drawGraph();
    if (!this.#log) return this.body.replaceChildren(h("p", { class: "hint" }, "Send a message, or choose “Inspect” below a turn."));
    if (this.#tab === "Events") return this.#drawEvents();
    if (this.#tab === "Trace" || this.#tab === "Model") return this.#drawTrace(this.#tab);
    if (this.#tab === "Response") return this.#drawResponse();
    const codes = Object.entries(asCode(this.#log));
    this.body.replaceChildren(...codes.map(([name, text]) => {
      const control = button("Copy", () => copy(text, control), { "aria-label": `Copy as ${name}` });
      return h("section", {}, h("div", { class: "row" }, h("h3", {}, name), control), h("pre", { tabindex: "0" }, h("code", {}, text)));
    }));
  }

  #drawResponse() {
    this.#response = this.#log.response;
    this.body.replaceChildren(block(this.#response ?? "No response yet."));
  }

  // The spans are those of the process: they are complete once the turn has ended.
  async #drawTrace(tab) {
    const log = this.#log;
    const spans = await spansOf(log);
    if (this.#log !== log || this.#tab !== tab) return;
    if (spans === null) return this.body.replaceChildren(h("p", { class: "hint" }, "The server cannot be reached."));
    const view = tab === "Trace" ? waterfall(spans) : messagesView(spans);
    const none = spans.length > 0 ? "The turn called no model." : "There are no spans of this turn. They are kept while the server runs.";
    this.body.replaceChildren(view ?? h("p", { class: "hint" }, none));
  }

  // While the turn runs, its spans are asked for again and again: an executor lights up when it begins.
  async #drawGraph() {
    clearTimeout(this.#looking);
    this.#looking = null;
    const log = this.#log;
    const spans = await spansOf(log);
    if (this.#log !== log || this.#tab !== "Graph") return;
    if (spans !== null) this.body.replaceChildren(graphView(this.graph, statesOf(spans)));
    if (log?.isRunning) this.#looking ??= setTimeout(() => this.#drawGraph(), LOOK_MS);
  }

  #drawEvents() {
    const filter = h("input", { type: "search", placeholder: "Filter by type or text", "aria-label": "Filter events", value: this.#filter });
    filter.addEventListener("input", () => {
      this.#filter = filter.value;
      this.list.replaceChildren();
      this.#drawn = this.#bytes = 0;
      this.#appendEvents();
    });
    this.count = h("p", { class: "hint" });
    this.list = h("ol", { class: "events" });
    this.#drawn = this.#bytes = 0;
    this.body.replaceChildren(filter, this.count, this.list);
    this.#appendEvents();
  }

  #appendEvents() {
    const { events } = this.#log;
    const wanted = this.#filter.toLowerCase();
    for (; this.#drawn < events.length; this.#drawn++) {
      const row = events[this.#drawn];
      this.#bytes += row.size;
      if (wanted && !row.event.type.includes(wanted) && !JSON.stringify(row.event).toLowerCase().includes(wanted)) continue;
      this.list.append(eventView(row));
      if (this.list.childElementCount > SHOWN) this.list.firstElementChild.remove();
    }
    this.count.textContent = `${events.length} events, ${(this.#bytes / 1024).toFixed(1)} kB`;
  }
}

// The spans of a turn, those that run included; null while the server is away.
async function spansOf(log) {
  const id = log?.response?.id ?? log?.response?.responseId;
  if (!id) return [];
  try {
    const answer = await fetch(`playground/traces/${encodeURIComponent(id)}`);
    return answer.ok ? (await answer.json()).spans : [];
  } catch {
    return null;
  }
}

// The body is made when the row is opened: a long turn has thousands of events.
function eventView({ event, at, size }) {
  const row = h("details", { class: "fold", ontoggle: () => row.open && row.childElementCount === 1 && row.append(block(event)) },
    h("summary", {}, h("code", {}, event.type), h("span", { class: "note" }, `${timeText(at)} · ${size} B`)));
  return h("li", {}, row);
}

function asCode({ body, url, headers }) {
  const json = JSON.stringify(body, null, 2);
  const extra = Object.entries(headers);
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const base = url.replace(/\/responses$/, "");
  return {
    curl: ["curl -N " + url, ...extra.map(([name, value]) => `  -H ${quoted(`${name}: ${value}`)}`), "  -H 'content-type: application/json'", `  -d ${quoted(json)}`].join(" \\\n"),
    Python: [
      "from openai import OpenAI\n",
      `client = OpenAI(base_url=${JSON.stringify(base)}, api_key="unused"${extra.length ? `, default_headers=${JSON.stringify(headers)}` : ""})`,
      `for event in client.responses.create(\n${python(body)}\n):`,
      "    print(event)",
    ].join("\n"),
    JavaScript: [
      'import OpenAI from "openai";\n',
      `const client = new OpenAI({ baseURL: ${JSON.stringify(base)}, apiKey: "unused"${extra.length ? `, defaultHeaders: ${JSON.stringify(headers)}` : ""} });`,
      `for await (const event of await client.responses.create(${json})) console.log(event);`,
    ].join("\n"),
  };
}

const STEP = "    ";

function python(body) {
  return Object.entries(body).map(([name, value]) => `${STEP}${name}=${pythonValue(value, STEP)},`).join("\n");
}

function pythonValue(value, indent) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = indent + STEP;
  const rows = Array.isArray(value)
    ? value.map((one) => pythonValue(one, inner))
    : Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${pythonValue(one, inner)}`);
  const [opening, closing] = Array.isArray(value) ? "[]" : "{}";
  return rows.length === 0 ? opening + closing : `${opening}\n${rows.map((row) => `${inner}${row},\n`).join("")}${indent}${closing}`;
}
