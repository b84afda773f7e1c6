from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8088", api_key="unused")

first = client.responses.create(input="What is the weather in Oslo?")
print(first.output_text)

with client.responses.stream(model="any", input="And in Paris?", previous_response_id=first.id) as events:
    for event in events:
        if event.type == "response.output_text.delta":
            print(event.delta, end="")
