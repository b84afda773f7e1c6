from llama_index.llms.openai import OpenAIResponses

model = OpenAIResponses(model="any", api_base="http://127.0.0.1:8088", api_key="unused", context_window=100_000)

print(model.complete("What is the weather in Oslo?").text)
