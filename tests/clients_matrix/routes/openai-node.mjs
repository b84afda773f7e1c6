// `openai` for Node on the routes beside `/responses`. Prints a line for each that worked.

import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "k", maxRetries: 0 });

const models = [];
for await (const model of client.models.list()) models.push(model.id);
if (models.length !== 1 || (await client.models.retrieve(models[0])).id !== models[0]) throw new Error(`${models}`);
console.log("models");

const conversation = await client.conversations.create({ metadata: { topic: "snow" } });
await client.conversations.items.create(conversation.id, { items: [{ role: "user", content: "Remember: blue." }] });
await client.responses.create({ input: "hi", conversation: conversation.id });
const items = [];
for await (const item of client.conversations.items.list(conversation.id, { order: "asc" })) items.push(item);
if (items.length !== 3) throw new Error(JSON.stringify(items));
const first = await client.conversations.items.retrieve(items[0].id, { conversation_id: conversation.id });
if (first.content[0].text !== "Remember: blue.") throw new Error(JSON.stringify(first));
await client.conversations.items.delete(items[0].id, { conversation_id: conversation.id });
const updated = await client.conversations.update(conversation.id, { metadata: { topic: "rain" } });
if (updated.metadata.topic !== "rain") throw new Error(JSON.stringify(updated));
if (!(await client.conversations.delete(conversation.id)).deleted) throw new Error("not deleted");
console.log("conversations");

const counted = await client.responses.inputTokens.count({ input: "x".repeat(4_000) });
if (counted.object !== "response.input_tokens" || counted.input_tokens < 900) throw new Error(JSON.stringify(counted));
console.log("input_tokens");

const response = await client.responses.create({ input: "Tell me something." });
const compacted = await client.responses.compact({ model: "any", previous_response_id: response.id });
if (compacted.object !== "response.compaction") throw new Error(JSON.stringify(compacted));
if (compacted.output.at(-1).type !== "compaction") throw new Error(JSON.stringify(compacted));
const next = await client.responses.create({ input: [...compacted.output, { role: "user", content: "And now?" }] });
if (next.status !== "completed" || !next.output_text) throw new Error(JSON.stringify(next));
console.log("compact");

const { ResponsesWS } = await import("openai/resources/responses/ws");
const socket = new ResponsesWS(client);

async function turn(body) {
  socket.send({ type: "response.create", ...body });
  for await (const event of socket.stream()) {
    const message = event.type === "message" ? event.message : event;
    if (message.type === "error") throw new Error(JSON.stringify(message));
    if (message.type === "response.completed") return message.response;
  }
  throw new Error("the socket closed");
}

const one = await turn({ input: "One." });
const two = await turn({ input: "Two.", previous_response_id: one.id });
if (two.previous_response_id !== one.id) throw new Error(JSON.stringify(two));
socket.close();
console.log("connect");
process.exit(0);
