"""Deltas that wait are merged: nothing is lost, nothing changes places, and nothing waits for more to come."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from agent_framework import AgentResponse, AgentResponseUpdate, Annotation, Content, ResponseStream
from hypothesis import given
from hypothesis import strategies as st

from hostedagent import AgentHost, Hooks
from hostedagent.protocol.content import ToolRoles
from hostedagent.protocol.stream.coalescing import MERGED, Merge
from hostedagent.protocol.types import CountUsage, Emission, Event
from hostedagent.testing import Gate, ScriptedAgent, serve
from tests.host.world import hosting, stream
from tests.protocol.content.harness import project

WORDS = [f"word{n} " for n in range(100)]


class Breathless(ScriptedAgent):
    """Gives its contents without ever giving way."""

    def __init__(self, contents: Sequence[Content]) -> None:
        super().__init__()
        self._contents = contents

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return ResponseStream(self._updates(), finalizer=AgentResponse.from_updates)

    async def _updates(self) -> AsyncIterator[AgentResponseUpdate]:
        for content in self._contents:
            yield AgentResponseUpdate(contents=[content], role="assistant")


def deltas(events: Sequence[Mapping[str, Any]]) -> list[str]:
    return [event["delta"] for event in events if event["type"].endswith(".delta")]


async def test_what_a_model_said_before_anybody_could_take_it_comes_in_few_deltas() -> None:
    async with hosting(Breathless([Content.from_text(word) for word in WORDS])) as client:
        log = await stream(client)

    assert log.text == "".join(WORDS)
    assert deltas(log.events) != WORDS
    assert len(deltas(log.events)) < len(WORDS) / 5


@pytest.mark.parametrize("store", [True, False], ids=["stored", "not stored"])
async def test_no_delta_waits_for_the_next_word(store: bool) -> None:
    gates = [Gate() for _ in range(5)]
    steps: list[Any] = []
    for word, gate in zip(WORDS, gates, strict=False):
        steps += [word, gate]
    body = {"input": "hi", "stream": True, "store": store}

    async with hosting(ScriptedAgent(steps)) as client, client.stream("POST", "/responses", json=body) as events:
        for word, gate in zip(WORDS, gates, strict=False):
            delta = await events.until("response.output_text.delta")
            assert delta["delta"] == word
            await gate.reached()  # The next word is not made before the gate opens.
            gate.open()
        assert (await events.until("response.completed"))["response"]["status"] == "completed"


async def test_a_citation_stays_where_it_was_said() -> None:
    cited = Content.from_text("two", annotations=[Annotation(type="citation", url="https://example.com")])
    contents = [Content.from_text("one "), cited, *map(Content.from_text, (" three", " four", " five"))]

    async with hosting(Breathless(contents)) as client:
        log = await stream(client)

    inside = [event for event in log.events if "output_text" in event["type"]]
    assert [event.get("delta", event["type"]) for event in inside] == [
        "one ",  # The first word leaves alone: whoever waits for it waits for no other.
        "two",
        "response.output_text.annotation.added",
        " three",  # It was read together with the citation, and what came later by itself.
        " four five",
        "response.output_text.done",
    ]
    assert inside[-1]["text"] == "one two three four five"


async def test_a_hook_sees_every_update() -> None:
    seen: list[str] = []

    def watch(update: AgentResponseUpdate) -> AgentResponseUpdate:
        seen.append(update.text)
        return update

    agent = Breathless([Content.from_text(word) for word in WORDS])
    async with serve(AgentHost(agent, hooks=Hooks(transform_update=watch)).app) as client:
        await stream(client)

    assert seen == WORDS


def delta(text: str, kind: str = "output_text", item: str = "a", **fields: Any) -> Event:
    return {"type": f"response.{kind}.delta", "item_id": item, "output_index": 0, "delta": text, **fields}


EMISSIONS = st.lists(
    st.one_of(
        st.builds(
            delta,
            st.text(max_size=3),
            st.sampled_from(["output_text", "refusal", "reasoning_text"]),
            st.sampled_from(["a", "b"]),
            content_index=st.integers(0, 1),
        ),
        st.just({"type": "response.output_item.added"}),
        st.just(CountUsage({}, replaces=False)),
    )
)


def said(emissions: Sequence[Emission]) -> list[Any]:
    """What comes out, with adjacent deltas of one place put together the slow way."""
    result: list[Any] = []
    for emission in emissions:
        if not isinstance(emission, dict) or "delta" not in emission:
            result.append(emission)
            continue
        place = {name: value for name, value in emission.items() if name != "delta"}
        if result and isinstance(result[-1], tuple) and result[-1][0] == place:
            result[-1] = (place, result[-1][1] + emission["delta"])
        else:
            result.append((place, emission["delta"]))
    return result


@given(st.lists(EMISSIONS))
def test_merging_changes_only_where_deltas_are_cut(batches: list[list[Emission]]) -> None:
    merge = Merge(is_watched=True)
    found: list[Emission] = []
    for batch in copy.deepcopy(batches):
        found += merge.merged(batch)
        assert not [*merge.rest()], "a delta was kept back from somebody who waits for it"

    assert said(found) == said([emission for batch in batches for emission in batch])


@given(st.lists(EMISSIONS))
def test_where_nobody_watches_only_whole_items_are_told_of_and_every_effect_is_kept(
    batches: list[list[Emission]],
) -> None:
    merge = Merge(is_watched=False)
    found = [emission for batch in batches for emission in merge.merged(batch)]

    assert found == [
        emission
        for batch in batches
        for emission in batch
        if not isinstance(emission, dict) or emission["type"].startswith("response.output_item.")
    ]
    assert not [*merge.rest()]


def test_logprobs_are_those_of_all_the_words_and_their_source_is_not_touched() -> None:
    mine = [[{"token": "a"}], [], [{"token": "b"}]]
    found = [*Merge(is_watched=True).merged([delta(str(n), logprobs=own) for n, own in enumerate(mine)])]

    assert found == [delta("012", logprobs=[{"token": "a"}, {"token": "b"}])]
    assert mine == [[{"token": "a"}], [], [{"token": "b"}]]


def test_what_raises_leaves_what_was_said_before() -> None:
    def broken() -> Any:
        yield delta("kept")
        raise ValueError("no")

    merge = Merge(is_watched=True)
    with pytest.raises(ValueError, match="no"):
        list(merge.merged(broken()))

    assert [event["delta"] for event in merge.rest()] == ["kept"]


def test_every_delta_that_grows_an_item_is_merged() -> None:
    contents = [
        Content.from_text_reasoning(text="a", id="r"),
        Content.from_text_reasoning(text="b", id="s", additional_properties={"openai": {"reasoning_text": True}}),
        Content.from_text("c"),
        Content.from_text("d", additional_properties={"core": {"model_output_kind": "refusal"}}),
        Content.from_function_call("1", "f", arguments="{}"),
        Content.from_function_call(
            "2", "g", arguments="x", additional_properties={"openai": {"item_type": "custom_tool_call"}}
        ),
    ]
    own = Content.from_function_call("3", "h", arguments="{}")
    events = [*project(contents).events]
    events += project([own], own_tools="mcp_call", tools=ToolRoles(own=frozenset({"h"}))).events
    kinds = {event["type"] for event in events if event["type"].endswith(".delta")}

    assert kinds == MERGED
