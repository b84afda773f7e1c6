// The AI SDK through `/chat/completions`: `openai.chat(...)`. Prints a line for each way that worked.

import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const model = createOpenAI({ baseURL: process.argv[2], apiKey: "k" }).chat("any");
const clock = tool({
  description: "Tell the time in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `noon in ${city}`,
});

const whole = await generateText({ model, system: "Be kind.", prompt: "Hello.", maxRetries: 0, stopSequences: ["END"] });
if (!whole.text || !(whole.usage.totalTokens > 0)) throw new Error(JSON.stringify(whole));
console.log("whole");

const stream = streamText({ model, prompt: "Hello.", maxRetries: 0, maxOutputTokens: 1_000 });
let text = "";
for await (const piece of stream.textStream) text += piece;
if (!text || (await stream.finishReason) !== "stop") throw new Error(text);
console.log("streamed");

const looped = await generateText({
  model,
  prompt: 'What does the clock say in city "Rome"?',
  tools: { clock },
  stopWhen: stepCountIs(3),
  maxRetries: 0,
});
if (!looped.text.includes("noon")) throw new Error(looped.text);
console.log("tools");
