import { Agent, OpenAIResponsesModel, run, setTracingDisabled } from "@openai/agents";
import OpenAI from "openai";

setTracingDisabled(true);
const client = new OpenAI({ baseURL: "http://127.0.0.1:8088", apiKey: "unused" });
const agent = new Agent({ name: "caller", instructions: "Be brief.", model: new OpenAIResponsesModel(client, "any") });

const result = await run(agent, "What is the weather in Oslo?");
console.log(result.finalOutput);
