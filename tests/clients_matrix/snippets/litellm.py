import litellm

response = litellm.completion(
    model="openai/responses/any",
    api_base="http://127.0.0.1:8088",
    api_key="unused",
    messages=[{"role": "user", "content": "What is the weather in Oslo?"}],
)
print(response.choices[0].message.content)
