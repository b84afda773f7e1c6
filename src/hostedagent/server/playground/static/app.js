// The page: conversations on the left, the chosen one in the middle, what goes over the wire on the right.

import { Api, eventsOf } from "./api.js";
import { Attachments } from "./attachments.js";
import { button, h, icon } from "./dom.js";
import { formOf } from "./forms.js";
import { Inspector } from "./inspector.js";
import { requestsView } from "./requests.js";
import { branchesAt, conversationsOf, isNew, newConversation, pathTo, previousOf, remove, save, tipOf } from "./store.js";
import { apply, isOver, keptOf, newTurn, openRequests, take } from "./turn.js";
import { TurnView } from "./turn-view.js";

const RETRY_MS = [500, 1000, 2000, 4000];
const RETRIES = 40; // Two and a half minutes: a server that starts again is waited for.
const $ = (id) => document.getElementById(id);

const settings = await (await fetch("playground/settings.json")).json();
const inspector = new Inspector($("inspector"), settings);
const attachments = new Attachments($("attachments"));
const logs = new Map(); // turn id -> what went over the wire, while the page is open
const running = new Map(); // turn id -> `{ controller, ended }` of what follows it
const start = settings.workflow?.start ? formOf(settings.workflow.start) : null; // what a workflow with a typed start takes

let user = localStorage.getItem("hostedagent.user") ?? "";
const whose = () => `${settings.root}${user}`; // The agents of a group share the browser's database.
let api = new Api(settings.root, user);
let conversations = [];
let current = null;
let views = new Map();
let editing = null; // the turn whose message is being edited

function announce(text) {
  $("status").textContent = text;
}

// Conversations

async function loadConversations(wanted = null) {
  conversations = await conversationsOf(whose());
  if (conversations.length === 0) conversations = [newConversation(whose())];
  open(conversations.find((one) => one.id === wanted) ?? conversations[0]);
}

function drawList() {
  const rows = conversations.filter((one) => !isNew(one)).map((one) =>
    h("li", {}, button(one.title, () => choose(one), { class: "name", dir: "auto", "aria-current": one === current ? "true" : null }),
      button(icon("pencil"), () => rename(one), { title: "Rename", "aria-label": `Rename ${one.title}` }),
      button(icon("trash"), () => erase(one), { title: "Delete", "aria-label": `Delete ${one.title}` })));
  $("conversations").replaceChildren(...(rows.length > 0 ? rows : [h("li", { class: "hint" }, "No conversations yet")]));
  if (isNew(current)) $("new").setAttribute("aria-current", "true");
  else $("new").removeAttribute("aria-current");
}

// On a narrow screen the list lies over the conversation, and leaves with the choice.
function choose(conversation) {
  document.body.classList.remove("listing");
  $("toggle-list").setAttribute("aria-expanded", "false");
  open(conversation);
}

function open(conversation) {
  current = conversation;
  editing = null;
  sessionStorage.setItem("hostedagent.conversation", conversation.id);
  drawList();
  drawTurns();
  for (const turn of Object.values(conversation.turns)) {
    if (!isOver(turn) && turn.responseId && !running.has(turn.id)) resume(conversation, turn);
  }
}

async function rename(conversation) {
  const title = prompt("Name of the conversation", conversation.title)?.trim();
  if (!title) return;
  conversation.title = title;
  await save(conversation);
  drawList();
}

async function erase(conversation) {
  if (!confirm(`Delete “${conversation.title}” and its responses on the server?`)) return;
  for (const turn of Object.values(conversation.turns)) {
    running.get(turn.id)?.controller.abort();
    if (turn.responseId) await api.delete(turn.responseId).catch(() => {});
  }
  await remove(conversation);
  await loadConversations();
}

// Turns

function drawTurns() {
  views = new Map();
  const path = current.leaf === null ? [] : pathTo(current, current.leaf);
  $("turns").replaceChildren(...path.map((turn) => viewOf(turn).element));
  $("empty").hidden = path.length > 0;
  const last = path.at(-1);
  if (last) {
    drawRequests(last);
    showInInspector(last);
  }
  drawComposer();
  scrollToEnd(true);
}

// The turn after the last one that is shown: what stands before it stays as it is, with what its reader has opened.
function append(turn) {
  views.get(turn.parent).showRequests(null);
  $("turns").append(viewOf(turn).element);
  showInInspector(turn);
  drawComposer();
  scrollToEnd(true);
}

function viewOf(turn) {
  const view = new TurnView(turn, {
    branches: branchesAt(current, turn),
    onBranch: (other) => {
      current.leaf = tipOf(current, other).id;
      save(current);
      drawTurns();
      views.get(other.id).element.scrollIntoView();
    },
    onEdit: () => edit(turn),
    onRetry: () => send(turn.input, turn.parent),
    onFork: () => {
      current.leaf = turn.id;
      drawTurns();
      $("message").focus();
    },
    onInspect: () => {
      document.body.classList.add("inspecting");
      $("toggle-inspector").setAttribute("aria-expanded", "true");
      showInInspector(turn);
    },
  });
  views.set(turn.id, view);
  return view;
}

function drawRequests(turn) {
  const requests = isOver(turn) && turn.status !== "failed" ? openRequests(turn) : [];
  const conversation = current;
  views.get(turn.id)?.showRequests(requests.length === 0 ? null : requestsView(requests, {
    keepsApprovals: settings.keeps_approvals,
    allowed: conversation.allowed,
    allow: (name) => conversation.allowed.push(name),
    answer: (items) => send(items, turn.id),
  }));
}

function showInInspector(turn) {
  inspector.show(logs.get(turn.id) ?? { ...requestOf(turn), events: [], response: turn.responseId ? turn : null });
}

function requestOf(turn) {
  const previous = previousOf(current, turn);
  const body = { input: turn.input, ...(previous ? { previous_response_id: previous } : {}), stream: true, background: true };
  return { body, url: `${location.origin}${settings.root}/responses`, headers: api.headers() };
}

async function send(input, parent) {
  const conversation = current;
  const turn = newTurn(parent, input);
  const goesOn = parent !== null && parent === conversation.leaf;
  conversation.turns[turn.id] = turn;
  conversation.leaf = turn.id;
  conversation.title ||= titleOf(input);
  await save(conversation);
  drawList();
  if (goesOn && views.has(parent) && branchesAt(conversation, turn).length === 1) append(turn);
  else drawTurns();
  const log = { ...requestOf(turn), events: [], response: null, started: performance.now() };
  await follow(conversation, turn, log, (signal) => api.create(log.body, signal));
}

async function resume(conversation, turn) {
  const log = { ...requestOf(turn), events: [], response: null, started: performance.now() };
  await follow(conversation, turn, log, (signal) => api.follow(turn.responseId, turn.sequence, signal));
}

function titleOf(input) {
  const parts = input.flatMap((item) => item.content ?? []);
  const text = parts.find((part) => part.type === "input_text")?.text ?? parts[0]?.filename ?? "Attachment";
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

// Reads the events of a turn to its end, over as many connections as it takes.
async function follow(conversation, turn, log, connect) {
  logs.set(turn.id, log);
  log.isRunning = true;
  if (conversation === current) inspector.show(log);
  const controller = new AbortController();
  const ended = Promise.withResolvers();
  running.set(turn.id, { controller, ended: ended.promise });
  drawComposer();
  try {
    await readAll(conversation, turn, log, connect, controller.signal);
  } finally {
    running.delete(turn.id);
    log.isRunning = false;
    await save(conversation);
    inspector.ended(log);
    if (conversation === current) finish(turn);
    ended.resolve();
  }
}

async function readAll(conversation, turn, log, connect, signal) {
  let attempt = 0;
  for (;;) {
    try {
      await read(conversation, turn, log, await connect(signal));
      if (isOver(turn)) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!turn.responseId) return fail(turn, error);
      const isLast = attempt >= RETRIES;
      if (isFinal(error) || isLast) {
        // Its events are gone, as after a restart: what became of it is in the response, which may still run.
        const found = await api.retrieve(turn.responseId).catch(() => null);
        if (found) take(turn, found);
        if (isOver(turn)) return;
        if (found === null || isLast) return fail(turn, error);
      }
    }
    lost(turn, true);
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(attempt++, RETRY_MS.length - 1)]));
    connect = async (again) => {
      const response = await api.follow(turn.responseId, turn.sequence, again);
      attempt = 0;
      lost(turn, false);
      return response;
    };
  }
}

// A server that starts, is busy or is going away answers differently a moment later.
function isFinal({ status }) {
  return status !== undefined && status < 500 && status !== 409 && status !== 429;
}

function lost(turn, isLost) {
  if (isLost) announce("The connection was lost. Trying again.");
  const view = views.get(turn.id);
  if (view) view.isOffline = isLost;
  view?.update(null);
}

async function read(conversation, turn, log, response) {
  let saved = performance.now();
  for await (const { event, size } of eventsOf(response)) {
    log.events.push({ event, size, at: performance.now() - log.started });
    if (event.response) log.response = event.response;
    const changed = apply(turn, event);
    if (conversation === current) {
      views.get(turn.id)?.update(changed);
      inspector.update(log);
      scrollToEnd();
    }
    // Kept now and then, so that a reload resumes where the page was.
    if (event.type === "response.created" || performance.now() - saved > 1000) {
      saved = performance.now();
      await save(conversation);
    }
  }
}

function fail(turn, error) {
  turn.status = "failed";
  const where = error.param ? ` (${error.param})` : "";
  turn.error = { code: error.status ? String(error.status) : "network", message: `${error.message}${where}` };
}

function finish(turn) {
  views.get(turn.id)?.update(null);
  drawRequests(turn);
  drawComposer();
  scrollToEnd();
  announce(turn.status === "completed" ? "The answer is complete." : `The turn ended: ${turn.status}.`);
}

async function stop() {
  for (const [id, { controller }] of running) {
    const turn = current.turns[id];
    if (!turn) continue;
    if (!turn.responseId) controller.abort();
    else await api.cancel(turn.responseId).catch((error) => announce(error.message));
    take(turn, await api.retrieve(turn.responseId).catch(() => ({ ...turn, id: turn.responseId, status: "cancelled" })));
  }
}

// New input for a turn that runs: the turn is interrupted, and a branch beside it goes on from what was done.
async function steer(turn, message) {
  const { ended } = running.get(turn.id);
  await stop();
  await ended;
  await send([...turn.input, ...keptOf(turn), message], turn.parent);
}

// The composer

function edit(turn) {
  editing = turn;
  const parts = turn.input.flatMap((item) => item.content ?? []);
  $("message").value = parts.filter((part) => part.type === "input_text").map((part) => part.text).join("\n");
  $("message").focus();
  drawComposer();
}

const runningTurn = () => (current === null ? undefined : [...running.keys()].map((id) => current.turns[id]).find(Boolean));

function drawComposer() {
  const isRunning = runningTurn() !== undefined;
  $("stop").hidden = !isRunning;
  $("send").textContent = isRunning ? "Steer" : start ? "Start" : "Send";
  $("send").title = isRunning ? "Interrupts the agent, which continues with your message from where it was" : "";
  $("send").hidden = isRunning && start !== null;
  $("editing").hidden = editing === null;
}

async function submit(event) {
  event.preventDefault();
  const text = start === null ? $("message").value.trim() : startText();
  const turn = runningTurn();
  if ((text === "" && attachments.isEmpty) || (turn && (start !== null || !turn.responseId))) return;
  const content = [...(text ? [{ type: "input_text", text }] : []), ...attachments.take()];
  const message = { type: "message", role: "user", content };
  const parent = editing === null ? current.leaf : editing.parent;
  editing = null;
  $("message").value = "";
  await (turn ? steer(turn, message) : send([message], parent));
}

// What the form of a typed start says, as JSON; empty where something is missing or wrong.
function startText() {
  try {
    $("problem").textContent = "";
    const value = start.value();
    return typeof value === "string" ? value : JSON.stringify(value, null, 2);
  } catch (error) {
    $("problem").textContent = error.message;
    return "";
  }
}

let followsEnd = true;
$("scroller").addEventListener("scroll", () => {
  const view = $("scroller");
  followsEnd = view.scrollHeight - view.scrollTop - view.clientHeight < 80;
});

function scrollToEnd(always = false) {
  if (always || followsEnd) requestAnimationFrame(() => $("scroller").scrollTo({ top: $("scroller").scrollHeight }));
}

// Users: each sees only its own responses, as on the platform.

function switchUser() {
  user = $("user").value.trim();
  localStorage.setItem("hostedagent.user", user);
  api = new Api(settings.root, user);
  running.forEach(({ controller }) => controller.abort());
  loadConversations();
}

$("composer").addEventListener("submit", submit);
$("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  if (event.key === "Escape" && editing) {
    editing = null;
    drawComposer();
  }
});
$("message").addEventListener("paste", (event) => {
  if (event.clipboardData.files.length > 0) {
    event.preventDefault();
    attachments.add(event.clipboardData.files);
  }
});
$("attach").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => attachments.add($("files").files).then(() => ($("files").value = "")));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  attachments.add(event.dataTransfer.files);
});
$("stop").addEventListener("click", stop);
$("new").addEventListener("click", () => {
  const fresh = conversations.find(isNew) ?? newConversation(whose());
  conversations = [fresh, ...conversations.filter((one) => one !== fresh)];
  choose(fresh);
  $("message").focus();
});
if (start) {
  $("start").append(start.element);
  $("start").addEventListener("input", () => ($("problem").textContent = ""));
  $("hint").textContent = "The workflow starts with the form below.";
  for (const id of ["message", "attach", "keys"]) $(id).hidden = true;
}
$("user").value = user;
$("user").addEventListener("change", switchUser);
for (const [control, name] of [["toggle-list", "listing"], ["toggle-inspector", "inspecting"]]) {
  $(control).addEventListener("click", () => {
    const isOpen = document.body.classList.toggle(name);
    $(control).setAttribute("aria-expanded", String(isOpen));
  });
}
addEventListener("online", () => announce("You are online again."));

document.querySelectorAll("[data-icon]").forEach((control) => control.prepend(icon(control.dataset.icon)));
document.title = `${settings.agent} · hostedagent`;
$("agent").textContent = settings.agent;
const agents = settings.agents ?? []; // More than one where the page is that of a group.
$("agents").hidden = agents.length < 2;
$("agent").classList.toggle("visually-hidden", agents.length > 1);
$("agents").append(...agents.map(({ name, root }) => h("option", { value: root, selected: root === settings.root }, name)));
$("agents").addEventListener("change", () => location.assign(`${$("agents").value}/`));
$("greeting").textContent = start ? `Start ${settings.agent}` : `Ask ${settings.agent}`;
const facts = [settings.model, settings.store === "its own" ? "own store" : `${settings.store} store`].filter(Boolean);
$("facts").replaceChildren(...facts.map((fact) => h("span", {}, fact)));
await loadConversations(sessionStorage.getItem("hostedagent.conversation"));
