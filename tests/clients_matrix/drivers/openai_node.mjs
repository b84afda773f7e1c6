// `openai` for Node: `responses.create`, `responses.stream` and `responses.parse`.

import OpenAI from "openai";

import { CLOCK, NOTES, PIXEL, QUESTION, SCHEMA, TURNS, failing, main } from "./driver.mjs";

const TOOL = { type: "function", name: "clock", description: "Tell the time.", strict: true, parameters: CLOCK };
const REPORT = { format: { type: "json_schema", name: "report", strict: true, schema: SCHEMA } };
const WEATHER = "How is the weather in Paris?";

async function create({ url, streamed }, input, body = {}) {
  const client = new OpenAI({ baseURL: url, apiKey: "k", maxRetries: 0 });
  if (!streamed) return client.responses.create({ model: "any", input, ...body });
  const stream = client.responses.stream({ model: "any", input, ...body });
  return stream.finalResponse();
}

async function withClock(given, question) {
  const input = [{ role: "user", content: question }];
  for (let step = 0; step < 5; step += 1) {
    const response = await create(given, input, { tools: [TOOL] });
    const calls = response.output.filter((item) => item.type === "function_call");
    if (!calls.length) return response.output_text;
    input.push(...response.output);
    for (const call of calls) {
      const isOurs = call.name === "clock" && JSON.parse(call.arguments).city === "Paris";
      input.push({ type: "function_call_output", call_id: call.call_id, output: isOurs ? "noon" : "unknown" });
    }
  }
  throw new Error("the loop did not end");
}

async function structured(given) {
  if (given.streamed) return (await create(given, WEATHER, { text: REPORT })).output_parsed;
  const client = new OpenAI({ baseURL: given.url, apiKey: "k", maxRetries: 0 });
  return (await client.responses.parse({ model: "any", input: WEATHER, text: REPORT })).output_parsed;
}

async function chain(given) {
  const texts = [];
  let previous;
  for (const question of TURNS) {
    const response = await create(given, question, previous ? { previous_response_id: previous } : {});
    texts.push(response.output_text);
    previous = response.id;
  }
  return texts;
}

async function consentItem(given) {
  const asked = await create(given, TURNS[0]);
  const links = asked.output.filter((item) => item.type === "oauth_consent_request").map((item) => item.consent_link);
  const answer = await create(given, TURNS[1], { previous_response_id: asked.id });
  const last = await create(given, TURNS[2], { previous_response_id: answer.id });
  return [...links, answer.output_text, last.output_text];
}

async function conversation(given, questions, body, kept) {
  const input = [];
  const texts = [];
  for (const question of questions) {
    input.push({ role: "user", content: question });
    const response = await create(given, input, body);
    input.push(...kept(response.output));
    texts.push(response.output_text);
  }
  return texts;
}

async function deciding(given, approve) {
  const response = await create(given, "Delete a.txt.");
  const asked = response.output.filter((item) => item.type === "mcp_approval_request");
  const answers = asked.map(({ id }) => ({ type: "mcp_approval_response", approval_request_id: id, approve }));
  const final = await create(given, answers, { previous_response_id: response.id });
  return { asked: asked.map((item) => [item.name, JSON.parse(item.arguments)]), text: final.output_text };
}

async function standing(given) {
  const first = await create(given, "Delete a.txt.");
  const asked = first.output.filter((item) => item.type === "mcp_approval_request");
  const answers = asked.map(({ id }) => ({
    type: "mcp_approval_response",
    approval_request_id: id,
    approve: true,
    always_approve: "tool",
  }));
  const second = await create(given, answers, { previous_response_id: first.id });
  const third = await create(given, "Delete b.txt.", { previous_response_id: second.id });
  const texts = [second.output_text, third.output_text];
  return { asked: asked.map((item) => [item.name, JSON.parse(item.arguments)]), texts };
}

async function question(given) {
  const tools = [{ type: "function", name: "Refund", parameters: QUESTION, strict: false }];
  const asked = await create(given, "Refund order 7.", { tools });
  const call = asked.output.find((item) => item.type === "function_call");
  if (JSON.parse(call.arguments).request.order !== 7) throw new Error(call.arguments);
  const answer = [{ type: "function_call_output", call_id: call.call_id, output: "true" }];
  return (await create(given, answer, { tools, previous_response_id: asked.id })).output_text;
}

async function asking(given, ...content) {
  return (await create(given, [{ role: "user", content }])).output_text;
}

const whole = (output) => output;
const stateless = { store: false, include: ["reasoning.encrypted_content"] };

await main({
  text: async (given) => (await create(given, "My name is Ada.")).output_text,
  instructions: async (given) =>
    (await create(given, "Say hello.", { instructions: "Answer in French." })).output_text,
  own_tools: async (given) => (await create(given, WEATHER)).output_text,
  client_tools: (given) => withClock(given, "What time is it in Paris?"),
  both_tools: (given) => withClock(given, WEATHER),
  structured,
  chain,
  consent_item: consentItem,
  history: (given) => conversation(given, TURNS, {}, whole),
  dumped: (given) => conversation(given, TURNS, {}, (output) => JSON.parse(JSON.stringify(output))),
  approve: (given) => deciding(given, true),
  reject: (given) => deciding(given, false),
  standing,
  question,
  reasoning: (given) => conversation(given, [WEATHER, "Who am I?"], stateless, whole),
  image: (given) =>
    asking(
      given,
      { type: "input_text", text: "What is this?" },
      { type: "input_image", image_url: `data:image/png;base64,${PIXEL}`, detail: "auto" },
    ),
  text_file: (given) =>
    asking(
      given,
      {
        type: "input_file",
        filename: "notes.txt",
        file_data: `data:text/plain;base64,${Buffer.from(NOTES).toString("base64")}`,
      },
      { type: "input_text", text: "Where does Ada live?" },
    ),
  // A failed turn is a response with an error, as it is at OpenAI.
  failure: async (given) => {
    const response = await create(given, "Hi.");
    return `${response.status} ${response.error?.code}`;
  },
  refusal: (given) => failing(() => create(given, "Hi.", { temperature: 9 })),
});
