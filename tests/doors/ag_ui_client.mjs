// The client of AG-UI against a host: node ag_ui_client.mjs URL. Its package is found from the working directory.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const found = createRequire(join(process.cwd(), "client.js")).resolve("@ag-ui/client");
const { HttpAgent } = await import(pathToFileURL(found));

const agent = new HttpAgent({ url: process.argv[2], threadId: "thread-node", headers: { "x-agent-user-id": "ada" } });
const tools = [{ name: "show_map", description: "Shows a map.", parameters: { type: "object", properties: {} } }];
const said = [];
const ask = async (text, parameters = {}) => {
  if (text) agent.addMessage({ id: crypto.randomUUID(), role: "user", content: text });
  const { newMessages } = await agent.runAgent({ tools, ...parameters });
  said.push(newMessages.map((message) => message.content || message.toolCalls?.map((call) => call.function.name)));
};

agent.setState({ cart: [] });
await ask("hello");
await ask("weather?");
await ask("map");
agent.addMessage({ id: "result", role: "tool", toolCallId: "map-1", content: "shown" });
await ask();
await ask("pay ann");
const interrupts = agent.pendingInterrupts ?? [];
await ask(undefined, { resume: [{ interruptId: interrupts[0]?.id, status: "resolved", payload: { approved: true } }] });
console.log(JSON.stringify({ said, state: agent.state, interrupts: interrupts.map((one) => one.message) }));
