// One turn as its events build it up. `apply` is a pure reduction: the same events give the same turn.

const FINAL = ["completed", "incomplete", "failed", "cancelled"];

export function newTurn(parent, input) {
  return {
    id: crypto.randomUUID(),
    parent,
    input,
    responseId: null,
    status: "starting",
    output: [],
    error: null,
    reason: null,
    usage: null,
    model: null,
    sequence: null,
    durations: {},
    rows: {}, // index of an item -> the row that it stands in; the agents of a row write side by side
    created: Date.now(),
  };
}

export const isOver = (turn) => FINAL.includes(turn.status);

// Applies one event. Returns the index of the output item that changed, or null when the turn as a whole did.
export function apply(turn, event) {
  if (event.sequence_number !== undefined) turn.sequence = event.sequence_number;
  const index = event.output_index ?? null;
  const item = index === null ? null : turn.output[index];
  switch (event.type) {
    case "response.output_item.added":
      turn.output[index] = event.item;
      turn.rows[index] = rowOf(turn, index);
      turn.durations[index] = { from: Date.now() };
      return index;
    case "response.output_item.done":
      turn.output[index] = event.item;
      if (turn.durations[index]) turn.durations[index].ms = Date.now() - turn.durations[index].from;
      return index;
    case "response.content_part.added":
    case "response.content_part.done":
      (item.content ??= [])[event.content_index] = event.part;
      return index;
    case "response.output_text.delta":
      partOf(item, event, { type: "output_text", text: "" }).text += event.delta;
      return index;
    case "response.refusal.delta":
      partOf(item, event, { type: "refusal", refusal: "" }).refusal += event.delta;
      return index;
    case "response.reasoning_text.delta":
      partOf(item, event, { type: "reasoning_text", text: "" }).text += event.delta;
      return index;
    case "response.reasoning_summary_part.added":
      (item.summary ??= [])[event.summary_index] = event.part;
      return index;
    case "response.reasoning_summary_text.delta":
      ((item.summary ??= [])[event.summary_index] ??= { type: "summary_text", text: "" }).text += event.delta;
      return index;
    case "response.function_call_arguments.delta":
    case "response.mcp_call_arguments.delta":
      item.arguments = (item.arguments ?? "") + event.delta;
      return index;
    case "response.custom_tool_call_input.delta":
      item.input = (item.input ?? "") + event.delta;
      return index;
    case "response.code_interpreter_call_code.delta":
      item.code = (item.code ?? "") + event.delta;
      return index;
    case "response.image_generation_call.partial_image":
      item.result = event.partial_image_b64;
      return index;
    case "error":
      turn.status = "failed";
      turn.error = { code: event.code, message: event.message };
      return null;
    default:
      if (event.response) take(turn, event.response);
      return null;
  }
}

// Takes over a response object: what a snapshot event or a GET shows.
export function take(turn, response) {
  turn.responseId = response.id;
  turn.status = response.status;
  turn.error = response.error ?? null;
  turn.reason = response.incomplete_details?.reason ?? null;
  turn.usage = response.usage ?? turn.usage;
  turn.model = response.model || turn.model;
  // A turn that was stopped keeps what was seen of it, also where the host stores nothing of it.
  const isWhole = turn.status === "completed" || turn.status === "incomplete";
  if (isWhole || response.output.length >= turn.output.length) turn.output = response.output;
}

export const authorOf = (item) => item?.agent_reference?.name ?? "";

// Agents that write at the same time share a row; one that writes alone begins a row of its own.
function rowOf(turn, index) {
  const author = authorOf(turn.output[index]);
  const beside = Object.keys(turn.durations).find((n) => turn.durations[n].ms === undefined && authorOf(turn.output[n]) !== author);
  if (author && beside !== undefined && authorOf(turn.output[beside])) return turn.rows[beside];
  const last = turn.rows[index - 1];
  const authors = new Set(turn.output.filter((_, n) => n < index && turn.rows[n] === last).map(authorOf));
  return authors.has(author) ? last : index;
}

// What a turn that was interrupted has done so far, as input of the turn that replaces it.
export function keptOf(turn) {
  const results = new Set(turn.output.filter((item) => item?.type.endsWith("_output")).map((item) => item.call_id));
  return turn.output.flatMap((item) => {
    if (item?.type === "message") {
      const text = (item.content ?? []).map((part) => part.text ?? "").join("");
      return text ? [{ type: "message", role: "assistant", content: [{ type: "output_text", text }] }] : [];
    }
    const isDone = item?.type === "mcp_call" ? item.output != null || item.error != null : results.has(item?.call_id);
    if (!isDone) return [];
    const { agent_reference, response_id, created_by, ...rest } = item;
    return [rest];
  });
}

function partOf(item, event, empty) {
  return ((item.content ??= [])[event.content_index] ??= empty);
}

// What the turn asks of its caller, unanswered: approvals, questions of a workflow, calls of the caller's tools, consent.
export function openRequests(turn) {
  const answered = new Set(turn.output.filter((item) => item.type.endsWith("_output")).map((item) => item.call_id));
  return turn.output.filter(
    (item) =>
      item.type === "mcp_approval_request" ||
      item.type === "oauth_consent_request" ||
      (item.type === "function_call" && !answered.has(item.call_id)),
  );
}

// The question inside a call that a workflow sends: what it asks, and the JSON schema of the answer.
export function questionOf(item) {
  try {
    const value = JSON.parse(item.arguments);
    return value && typeof value === "object" && "response_schema" in value ? value : null;
  } catch {
    return null;
  }
}
