// The AI SDK with `@ai-sdk/openai`: `generateText` and `streamText`, objects, tools and approvals.

import { createOpenAI } from "@ai-sdk/openai";
import { Output, generateText, isStepCount, jsonSchema, streamText, tool } from "ai";
import { z } from "zod";

import { NOT_SHOWN, PIXEL, QUESTION, TURNS, absent, failing, main, withoutLink } from "./driver.mjs";

const WEATHER = "How is the weather in Paris?";
const clock = tool({
  description: "Tell the time.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => (city === "Paris" ? "noon" : "unknown"),
});

async function play({ url, streamed }, options) {
  const model = createOpenAI({ baseURL: url, apiKey: "k" }).responses("any");
  const settings = { model, maxRetries: 0, stopWhen: isStepCount(5), ...options };
  if (!streamed) {
    const result = await generateText(settings);
    return {
      text: result.text,
      output: options.output && result.output,
      content: result.content,
      messages: result.responseMessages,
      id: result.providerMetadata.openai.responseId,
    };
  }
  let failed;
  const onError = ({ error }) => {
    failed ??= error;
  };
  const result = streamText({ ...settings, onError });
  try {
    await result.consumeStream();
    return {
      text: await result.text,
      output: options.output && (await result.output),
      content: await result.content,
      messages: await result.responseMessages,
      id: (await result.providerMetadata).openai.responseId,
    };
  } catch (error) {
    throw failed ?? error;
  } finally {
    if (failed) throw failed;
  }
}

async function chain(given) {
  const texts = [];
  let previousResponseId;
  for (const prompt of TURNS) {
    const { text, id } = await play(given, { prompt, providerOptions: { openai: { previousResponseId } } });
    texts.push(text);
    previousResponseId = id;
  }
  return texts;
}

async function conversation(given, questions, kept, openai = {}) {
  let messages = [];
  const texts = [];
  for (const content of questions) {
    messages.push({ role: "user", content });
    const { text, messages: added } = await play(given, { messages, providerOptions: { openai } });
    messages = kept([...messages, ...added]);
    texts.push(text);
  }
  return texts;
}

async function deciding(given, approved) {
  const messages = [{ role: "user", content: "Delete a.txt." }];
  const first = await play(given, { messages });
  const requests = first.content.filter((part) => part.type === "tool-approval-request");
  const asked = requests.map(({ toolCall }) => [toolCall.toolName.replace("mcp.", ""), toolCall.input]);
  messages.push(...first.messages, {
    role: "tool",
    // As `convertToModelMessages` writes the answer of a user interface.
    content: requests.map(({ approvalId }) => ({
      type: "tool-approval-response",
      approvalId,
      approved,
      providerExecuted: true,
    })),
  });
  return { asked, text: (await play(given, { messages })).text };
}

async function question(given) {
  const tools = { Refund: tool({ description: "Refund an order.", inputSchema: jsonSchema(QUESTION) }) };
  const first = await play(given, { prompt: "Refund order 7.", tools });
  const { toolCallId, input } = first.content.find((part) => part.type === "tool-call");
  const output = { type: "text", value: String(input.request.order === 7) };
  const messages = [{ role: "tool", content: [{ type: "tool-result", toolName: "Refund", toolCallId, output }] }];
  return (await play(given, { messages, tools, providerOptions: { openai: { previousResponseId: first.id } } })).text;
}

async function asking(given, ...content) {
  return (await play(given, { messages: [{ role: "user", content }] })).text;
}

const whole = (messages) => messages;
const stateless = {
  store: false,
  include: ["reasoning.encrypted_content"],
  reasoningSummary: "auto",
  forceReasoning: true,
};

await main({
  text: async (given) => (await play(given, { prompt: "My name is Ada." })).text,
  instructions: async (given) =>
    (await play(given, { instructions: "Answer in French.", prompt: "Say hello." })).text,
  own_tools: async (given) => (await play(given, { prompt: WEATHER })).text,
  client_tools: async (given) =>
    (await play(given, { prompt: "What time is it in Paris?", tools: { clock } })).text,
  both_tools: async (given) => (await play(given, { prompt: WEATHER, tools: { clock } })).text,
  structured: async (given) => {
    const schema = z.object({ city: z.string(), degrees: z.number() });
    return (await play(given, { prompt: WEATHER, output: Output.object({ schema }) })).output;
  },
  chain,
  consent_item: async (given) => {
    const ask = () => play(given, { prompt: TURNS[0] });
    if (given.streamed) throw withoutLink(await ask(), NOT_SHOWN);
    const raised = await ask().then(
      () => undefined,
      (error) => error,
    );
    throw withoutLink(raised.message, "it raises an error for the item");
  },
  history: (given) => conversation(given, TURNS, whole),
  dumped: (given) => conversation(given, TURNS, (messages) => JSON.parse(JSON.stringify(messages))),
  approve: (given) => deciding(given, true),
  reject: (given) => deciding(given, false),
  standing: absent("its answers have no field for it"),
  question,
  reasoning: (given) => conversation(given, [WEATHER, "Who am I?"], whole, stateless),
  image: (given) =>
    asking(
      given,
      { type: "text", text: "What is this?" },
      { type: "file", data: PIXEL, mediaType: "image/png" },
    ),
  text_file: absent("it sends only images and PDFs"),
  failure: (given) => failing(() => play(given, { prompt: "Hi." })),
  refusal: (given) => failing(() => play(given, { prompt: "Hi.", temperature: 9 })),
});
