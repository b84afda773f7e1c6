import OpenAI from "openai";

const client = new OpenAI({ baseURL: "http://127.0.0.1:8088", apiKey: "unused" });

const response = await client.responses.create({ input: "What is the weather in Oslo?" });
console.log(response.output_text);
