// Conversations in the browser's own database. Each is a tree of turns; `leaf` is the turn that is shown last.

const NAME = "hostedagent";
const STORE = "conversations";

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

const database = opened();

async function call(mode, act) {
  const store = (await database).transaction(STORE, mode).objectStore(STORE);
  return new Promise((resolve, reject) => {
    const request = act(store);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

export function newConversation(user) {
  return { id: crypto.randomUUID(), title: "", user, created: Date.now(), turns: {}, leaf: null, allowed: [] };
}

// All conversations of a user, the latest first.
export async function conversationsOf(user) {
  const found = await call("readonly", (store) => store.getAll());
  return found.filter((one) => one.user === user).sort((a, b) => b.created - a.created);
}

// Stored as JSON: what is only of use while the page is open (timers, event logs) is not part of a turn.
export const save = (conversation) => call("readwrite", (store) => store.put(structuredClone(conversation)));

export const remove = (conversation) => call("readwrite", (store) => store.delete(conversation.id));

// Nothing was sent in it yet: it is neither stored nor listed.
export const isNew = (conversation) => conversation.leaf === null;

// The turns from the first one to a leaf.
export function pathTo(conversation, leaf) {
  const path = [];
  for (let id = leaf; id !== null; id = conversation.turns[id].parent) path.unshift(conversation.turns[id]);
  return path;
}

// The response that a turn continues: that of the nearest turn before it that has one, as a refused request has none.
export function previousOf(conversation, turn) {
  return pathTo(conversation, turn.parent).findLast(({ responseId }) => responseId !== null)?.responseId;
}

// The turns that continue the same turn as this one, itself included: the branches at its place.
export function branchesAt(conversation, turn) {
  return Object.values(conversation.turns)
    .filter((other) => other.parent === turn.parent)
    .sort((a, b) => a.created - b.created);
}

// The latest turn below this one, by which a branch is shown.
export function tipOf(conversation, turn) {
  const next = Object.values(conversation.turns).filter((other) => other.parent === turn.id);
  return next.length === 0 ? turn : tipOf(conversation, next.sort((a, b) => b.created - a.created)[0]);
}
