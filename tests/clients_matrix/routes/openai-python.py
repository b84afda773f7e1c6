"""`openai` for Python on the routes beside `/responses`. Prints a line for each that worked."""

import asyncio
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="k", max_retries=0)

models = [model.id for model in client.models.list()]
assert len(models) == 1 and client.models.retrieve(models[0]).id == models[0], models
print("models")

conversation = client.conversations.create(metadata={"topic": "snow"})
client.conversations.items.create(conversation.id, items=[{"role": "user", "content": "Remember: blue."}])
client.responses.create(input="hi", conversation=conversation.id)
items = list(client.conversations.items.list(conversation.id, order="asc"))
assert len(items) == 3, items
first = client.conversations.items.retrieve(items[0].id, conversation_id=conversation.id)
assert first.content[0].text == "Remember: blue.", first
client.conversations.items.delete(items[0].id, conversation_id=conversation.id)
assert client.conversations.update(conversation.id, metadata={"topic": "rain"}).metadata == {"topic": "rain"}
assert client.conversations.delete(conversation.id).deleted
print("conversations")

counted = client.responses.input_tokens.count(input="x" * 4_000)
assert counted.object == "response.input_tokens" and counted.input_tokens > 900, counted
print("input_tokens")

response = client.responses.create(input="Tell me something.")
compacted = client.responses.compact(model="any", previous_response_id=response.id)
assert compacted.object == "response.compaction" and compacted.output[-1].type == "compaction", compacted
given = [item.model_dump(warnings=False) for item in compacted.output]
following = client.responses.create(input=[*given, {"role": "user", "content": "And now?"}])
assert following.status == "completed" and following.output_text, following
print("compact")


async def connect() -> None:
    api = openai.AsyncOpenAI(base_url=sys.argv[1], api_key="k", max_retries=0)
    async with api.responses.connect() as connection:
        previous: str | None = None
        for text in ("One.", "Two."):
            await connection.response.create(input=text, **({"previous_response_id": previous} if previous else {}))
            async for event in connection:
                assert event.type != "error", event
                if event.type == "response.completed":
                    assert event.response.previous_response_id == previous
                    previous = event.response.id
                    break
    print("connect")


asyncio.run(connect())
