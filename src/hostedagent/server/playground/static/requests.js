// What a turn asks of its caller, as controls. Each answer is an input item of the next turn.

import { button, h } from "./dom.js";
import { formOf } from "./forms.js";
import { block, safeUrl } from "./items.js";
import { questionOf } from "./turn.js";

// Returns an element; `answer` is called with the input items once every request is answered. Where the agent keeps
// approvals it takes the answer "always"; elsewhere the page itself answers for the tools in `allowed`, to which `allow` adds.
export function requestsView(requests, { keepsApprovals, allowed, allow, answer }) {
  const given = new Map();
  const settle = (item, value) => {
    given.set(item, value);
    if (given.size === requests.length) answer([...given.values()].filter((one) => one !== null));
  };
  const views = requests.map((item) => {
    if (item.type === "mcp_approval_request") return approval(item, keepsApprovals ? null : allow, settle);
    if (item.type === "oauth_consent_request") return consent(item, answer);
    return questionOf(item) ? question(item, settle) : clientTool(item, settle);
  });
  const automatic = requests.every((item) => item.type === "mcp_approval_request" && allowed.includes(item.name));
  if (automatic) queueMicrotask(() => answer(requests.map((item) => approvalResponse(item, true))));
  return h("section", { class: "requests", "aria-label": "The agent asks" }, views);
}

function approvalResponse(item, approve, reason) {
  return { type: "mcp_approval_response", approval_request_id: item.id, approve, ...(reason ? { reason } : {}) };
}

function approval(item, allow, settle) {
  const reason = h("input", { type: "text", placeholder: "Reason (optional)", "aria-label": "Reason for rejecting" });
  const state = h("p", { class: "note", role: "status" });
  const controls = h("div", { class: "row" });
  const decide = (approve, note, more = {}) => {
    controls.remove();
    state.textContent = note;
    settle(item, { ...approvalResponse(item, approve, approve ? "" : reason.value.trim()), ...more });
  };
  const always = allow === null
    ? button("Approve and do not ask again", () => decide(true, "Approved for good", { always_approve: "tool" }))
    : button("Always for this tool", () => {
      allow(item.name);
      decide(true, "Approved, also from now on in this conversation");
    });
  controls.append(
    button("Approve", () => decide(true, "Approved"), { class: "primary" }),
    always,
    reason,
    button("Reject", () => decide(false, "Rejected")),
  );
  return h("div", { class: "card request" }, h("h3", {}, `May the agent run ${item.name}?`), block(item.arguments || "{}"), controls, state);
}

function question(item, settle) {
  const { request, response_schema: schema } = questionOf(item);
  const form = formOf(schema ?? {});
  const problem = h("p", { class: "problem", role: "alert" });
  const submit = (event) => {
    event.preventDefault();
    try {
      const value = form.value();
      element.querySelectorAll("input, textarea, select, button").forEach((control) => (control.disabled = true));
      settle(item, output(item, typeof value === "string" ? value : JSON.stringify(value)));
    } catch (error) {
      problem.textContent = error.message;
    }
  };
  const element = h("form", { class: "card request", onsubmit: submit, novalidate: true },
    typeof request === "string" ? h("h3", {}, request) : [h("h3", {}, item.name), block(request)], form.element, problem,
    h("button", { type: "submit", class: "primary" }, "Answer"));
  return element;
}

function clientTool(item, settle) {
  const control = h("textarea", { rows: "2", "aria-label": `Result of ${item.name}` });
  const element = h("div", { class: "card request" }, h("h3", {}, `The agent calls ${item.name}, which runs on your side`),
    block(item.arguments || "{}"), control,
    button("Send result", () => {
      element.querySelectorAll("textarea, button").forEach((one) => (one.disabled = true));
      settle(item, output(item, control.value));
    }, { class: "primary" }));
  return element;
}

function consent(item, answer) {
  const link = safeUrl(item.consent_link);
  return h("div", { class: "card request" }, h("h3", {}, `${item.server_label || "A tool"} needs your consent`),
    link ? h("a", { href: link, target: "_blank", rel: "noopener noreferrer" }, "Open the sign-in page") : null,
    button("Continue", () => answer([{ type: "message", role: "user", content: "done" }]), { class: "primary" }));
}

function output(item, value) {
  return { type: "function_call_output", call_id: item.call_id, output: value };
}
