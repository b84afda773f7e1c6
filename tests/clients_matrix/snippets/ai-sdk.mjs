import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";

const host = createOpenAI({ baseURL: "http://127.0.0.1:8088", apiKey: "unused" });

const { text } = await generateText({ model: host.responses("any"), prompt: "What is the weather in Oslo?" });
console.log(text);
