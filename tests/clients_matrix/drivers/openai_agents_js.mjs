// `@openai/agents`: an `Agent` whose model is the hosted agent, run with `run`.

import { Agent, OpenAIResponsesModel, hostedMcpTool, run, setTracingDisabled, tool } from "@openai/agents";
import OpenAI from "openai";
import { z } from "zod";

import { NOTES, PIXEL, QUESTION, TURNS, absent, failing, main, withoutLink } from "./driver.mjs";

setTracingDisabled(true);
const WEATHER = "How is the weather in Paris?";

const clock = tool({
  name: "clock",
  description: "Tell the time.",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => (city === "Paris" ? "noon" : "unknown"),
});

function agent({ url }, fields = {}) {
  const client = new OpenAI({ baseURL: url, apiKey: "k", maxRetries: 0 });
  return new Agent({ name: "caller", instructions: "", model: new OpenAIResponsesModel(client, "any"), ...fields });
}

async function play(given, input, { fields = {}, ...options } = {}) {
  const result = await run(agent(given, fields), input, { stream: given.streamed, ...options });
  if (given.streamed) await result.completed;
  if (given.streamed && result.error) throw result.error;
  return result;
}

async function chain(given) {
  const texts = [];
  let previousResponseId;
  for (const question of TURNS) {
    const result = await play(given, question, { previousResponseId });
    texts.push(result.finalOutput);
    previousResponseId = result.lastResponseId;
  }
  return texts;
}

async function conversation(given, questions, kept, fields = {}) {
  let history = [];
  const texts = [];
  for (const question of questions) {
    const result = await play(given, [...history, { role: "user", content: question }], { fields });
    texts.push(result.finalOutput);
    history = kept(result.history);
  }
  return texts;
}

async function deciding(given, approve) {
  const asked = [];
  const decide = async (_, request) => {
    asked.push([request.rawItem.name, JSON.parse(request.rawItem.arguments ?? request.rawItem.providerData.arguments)]);
    return { approve };
  };
  const tools = [hostedMcpTool({ serverLabel: "agent", requireApproval: "always", onApproval: decide })];
  const result = await play(given, "Delete a.txt.", { fields: { tools } });
  return { asked, text: result.finalOutput };
}

async function question(given) {
  const refund = tool({
    name: "Refund",
    description: "Refund an order.",
    parameters: QUESTION,
    strict: false,
    execute: async ({ request }) => String(request.order === 7),
  });
  // The first response ends the run, so that the second continues it by its id.
  const fields = { tools: [refund], toolUseBehavior: "stop_on_first_tool" };
  const first = await play(given, "Refund order 7.", { fields });
  const output = first.newItems.find((item) => item.type === "tool_call_output_item").rawItem;
  return (await play(given, [output], { fields, previousResponseId: first.lastResponseId })).finalOutput;
}

async function asking(given, ...content) {
  return (await play(given, [{ role: "user", content }])).finalOutput;
}

const whole = (history) => history;
const stateless = {
  modelSettings: {
    store: false,
    reasoning: { summary: "auto" },
    providerData: { include: ["reasoning.encrypted_content"] },
  },
};

await main({
  text: async (given) => (await play(given, "My name is Ada.")).finalOutput,
  instructions: async (given) =>
    (await play(given, "Say hello.", { fields: { instructions: "Answer in French." } })).finalOutput,
  own_tools: async (given) => (await play(given, WEATHER)).finalOutput,
  client_tools: async (given) =>
    (await play(given, "What time is it in Paris?", { fields: { tools: [clock] } })).finalOutput,
  both_tools: async (given) => (await play(given, WEATHER, { fields: { tools: [clock] } })).finalOutput,
  structured: async (given) => {
    const outputType = z.object({ city: z.string(), degrees: z.number() });
    return (await play(given, WEATHER, { fields: { outputType } })).finalOutput;
  },
  chain,
  consent_item: async (given) => {
    throw withoutLink(await failing(() => play(given, TURNS[0])), "it raises an error for an `incomplete` response");
  },
  history: (given) => conversation(given, TURNS, whole),
  dumped: (given) => conversation(given, TURNS, (history) => JSON.parse(JSON.stringify(history))),
  approve: (given) => deciding(given, true),
  reject: (given) => deciding(given, false),
  standing: absent("its answers have no field for it"),
  question,
  reasoning: (given) => conversation(given, [WEATHER, "Who am I?"], whole, stateless),
  image: (given) =>
    asking(
      given,
      { type: "input_text", text: "What is this?" },
      { type: "input_image", image: `data:image/png;base64,${PIXEL}` },
    ),
  text_file: (given) =>
    asking(
      given,
      {
        type: "input_file",
        filename: "notes.txt",
        file: `data:text/plain;base64,${Buffer.from(NOTES).toString("base64")}`,
      },
      { type: "input_text", text: "Where does Ada live?" },
    ),
  failure: (given) => failing(() => play(given, "Hi.")),
  refusal: (given) => failing(() => play(given, "Hi.", { fields: { modelSettings: { temperature: 9 } } })),
});
