// One turn on the page: what the caller sent, and the items of the answer as they arrive.

import { button, copy, h } from "./dom.js";
import { itemView, partView } from "./items.js";
import { authorOf, isOver } from "./turn.js";

const REASONS = {
  max_output_tokens: "The answer reached the limit of its length.",
  content_filter: "A content filter ended the answer.",
  consent_required: "A tool needs your consent.",
};

export class TurnView {
  #dirty = new Set();
  #frame = null;
  #items = [];
  #lanes = new Map(); // row and author -> where the items of that agent stand

  constructor(turn, actions) {
    this.turn = turn;
    this.answer = h("div", { class: "answer" });
    this.ending = h("div", { class: "ending" });
    this.requests = h("div", {});
    this.element = h("article", { class: "turn" }, inputView(turn, actions), this.answer, this.requests, this.ending);
    this.actions = actions;
    this.#drawAll();
  }

  // An item changed, or with null the turn as a whole. Drawn once a frame, however many events arrive.
  update(index) {
    this.#dirty.add(index);
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      const dirty = this.#dirty;
      this.#dirty = new Set();
      if (dirty.has(null)) this.#drawAll();
      else dirty.forEach((one) => this.#drawItem(one));
    });
  }

  showRequests(view) {
    this.requests.replaceChildren(...(view ? [view] : []));
  }

  #drawAll() {
    this.turn.output.forEach((_, index) => this.#drawItem(index));
    this.#items.splice(this.turn.output.length).forEach((slot) => slot.remove());
    this.#drawEnding();
  }

  #drawItem(index) {
    const { turn } = this;
    const item = turn.output[index];
    if (!item) return;
    const slot = (this.#items[index] ??= this.#laneOf(index).appendChild(h("div", { class: "item" })));
    const before = slot.querySelector(":scope > details");
    const outputs = new Map(turn.output.filter((one) => one?.call_id && one.type.endsWith("_output")).map((one) => [one.call_id, one]));
    const view = itemView(item, { outputs, duration: turn.durations[index]?.ms, open: before?.open ?? false });
    slot.replaceChildren(...(view ? [view] : []));
    if (view) this.#name(slot.parentElement);
    if (item.type.endsWith("_output")) this.#redrawCallOf(item);
  }

  // The lane of an item's agent; lanes of one row stand side by side, each with its agent's name.
  #laneOf(index) {
    const author = authorOf(this.turn.output[index]);
    const row = this.turn.rows?.[index] ?? index;
    const key = `${row}\n${author}`;
    if (!this.#lanes.has(key)) {
      const holder = this.answer.querySelector(`[data-row="${row}"]`) ?? this.answer.appendChild(h("div", { class: "lanes", "data-row": String(row) }));
      this.#lanes.set(key, holder.appendChild(h("div", { class: "lane", "data-author": author })));
    }
    return this.#lanes.get(key);
  }

  // A lane that shows something has its agent's name, unless the one before it is of the same agent.
  #name(lane) {
    const { author } = lane.dataset;
    if (!author || lane.querySelector(":scope > .author")) return;
    const shown = [...this.answer.querySelectorAll(".lane:has(.item > *)")];
    if (shown[shown.indexOf(lane) - 1]?.dataset.author !== author) lane.prepend(h("h3", { class: "author" }, author));
  }

  #redrawCallOf(output) {
    const index = this.turn.output.findIndex((one) => one?.call_id === output.call_id && !one.type.endsWith("_output"));
    if (index >= 0) this.#drawItem(index);
  }

  #drawEnding() {
    const { turn, actions } = this;
    const lines = [];
    if (!isOver(turn)) lines.push(h("p", { class: "busy" }, this.isOffline ? "The connection was lost. Trying again …" : "Working …"));
    if (turn.status === "failed") lines.push(h("p", { class: "problem" }, `${turn.error?.code ?? "failed"}: ${turn.error?.message ?? "The turn failed."}`));
    if (turn.status === "cancelled") lines.push(h("p", { class: "note" }, "Stopped."));
    if (turn.status === "incomplete") lines.push(h("p", { class: "note" }, REASONS[turn.reason] ?? `Incomplete: ${turn.reason}`));
    if (isOver(turn)) {
      const used = turn.usage ? `${turn.usage.input_tokens} + ${turn.usage.output_tokens} tokens` : null;
      const text = textOf(turn);
      lines.push(h("div", { class: "row tools" }, text ? button("Copy", (event) => copy(text, event.currentTarget), { title: "Copy the answer as Markdown" }) : null, button("Inspect", actions.onInspect), button("Try again", actions.onRetry),
        button("Continue from here", actions.onFork), h("span", { class: "note" }, [turn.model, used].filter(Boolean).join(" · "))));
    }
    this.ending.replaceChildren(...lines);
  }
}

// The answer as text, as it is copied.
function textOf(turn) {
  const parts = turn.output.filter((item) => item?.type === "message").flatMap((item) => item.content ?? []);
  return parts.map((part) => part.text ?? part.refusal ?? "").filter(Boolean).join("\n\n");
}

function inputView(turn, { branches, onBranch, onEdit }) {
  const said = turn.input.filter((item) => item.role === "user" || isAnswer(item));
  const parts = said.flatMap((item) => (item.type === "message" ? contentOf(item) : [answerView(item)]));
  const kept = turn.input.length - said.length;
  if (kept > 0) parts.push(h("p", { class: "note" }, `Continues with ${kept} ${kept === 1 ? "item" : "items"} of the interrupted turn.`));
  const isMessage = turn.input.some((item) => item.type === "message");
  const at = branches.indexOf(turn);
  const switcher = branches.length < 2 ? null : h("span", { class: "branches" },
    button("‹", () => onBranch(branches[at - 1]), { "aria-label": "Previous branch", disabled: at === 0 }),
    ` ${at + 1} / ${branches.length} `,
    button("›", () => onBranch(branches[at + 1]), { "aria-label": "Next branch", disabled: at === branches.length - 1 }));
  return h("div", { class: "input" }, h("div", { class: "bubble" }, parts), h("div", { class: "row tools" }, isMessage ? button("Edit", onEdit) : null, switcher));
}

const contentOf = (item) => (typeof item.content === "string" ? [h("p", { class: "plain", dir: "auto" }, item.content)] : item.content.map(partView));

// An answer to what the agent asked; the outputs of calls that stand beside them are work that goes on.
const isAnswer = (item) => item.type === "mcp_approval_response" || (item.type === "function_call_output" && !item.id);

function answerView(item) {
  if (item.type === "mcp_approval_response") return h("p", { class: "note" }, item.approve ? "Approved" : `Rejected${item.reason ? `: ${item.reason}` : ""}`);
  return h("p", { class: "plain" }, item.output ?? item.type);
}
