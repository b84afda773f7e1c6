"""A process dies while the model's service works: the next one finds that work again, and asks for nothing twice."""

import asyncio
import json
import os
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hostedagent.testing import EventLog
from tests.clients.upstream import Gate, Text, ToolCall, Upstream, turn

PROJECT = Path(__file__).parents[2]
OSLO = ToolCall("look_up", {"city": "Oslo"})
ROME = ToolCall("look_up", {"city": "Rome"})
STOPS = {
    "speaking": "delta: one",
    "quiet": "after token 1",
    "several": "delta: three",
    "calling": "in the tool of Oslo",
    "together": "in the tool of Rome",
    "called": "after the results",
    "answering": "delta: it",
    "unheard": "before token 2",
    "unwritten": "before the end",
    "unsaved": "after the end",
}
"""Where each turn is when its process dies."""
QUIET = ("quiet", "called")
"""The turns that nobody reads."""
ASKED_AGAIN = "unheard"


@dataclass(slots=True)
class Life:
    """What one process said, by turn."""

    ids: dict[str, str] = field(default_factory=dict[str, str])
    events: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    ran: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    told: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    waits: set[str] = field(default_factory=set[str])

    def take(self, line: dict[str, Any]) -> None:
        name = line.pop("name")
        match line:
            case {"id": response_id}:
                self.ids[name] = response_id
            case {"event": event}:
                self.events[name].append(event)
                self.reach(name, f"delta: {event.get('delta')}")
            case {"ran": city}:
                self.ran[name].append(city)
            case {"at": place}:
                self.reach(name, place)
            case _:
                self.told[name].update(line)

    def reach(self, name: str, place: str) -> None:
        if STOPS.get(name) == place:
            self.waits.discard(name)


async def live(root: Path, url: str, plan: dict[str, Any]) -> Life:
    life = Life(waits={*STOPS, *QUIET} if "turns" in plan else set())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.crash.relay", str(root), url, json.dumps(plan)),
        stdout=asyncio.subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, "AGENTSERVER_STATE_ROOT": str(root / "sdk")},
        limit=2**24,
    )
    assert process.stdout is not None
    async for text in process.stdout:
        life.take(json.loads(text))
        if "turns" in plan and not life.waits and len(life.ids) == len(STOPS):
            process.kill()
            break
    assert await process.wait() == (-9 if "turns" in plan else 0)
    return life


@dataclass(slots=True)
class Story:
    """What happened in two processes, and at the service."""

    before: Life
    after: Life
    posts: dict[str, list[dict[str, Any]]]
    retrieved: list[str]

    def output(self, name: str) -> list[dict[str, Any]]:
        return self.after.told[name]["final"]["output"]

    def texts(self, name: str, status: str = "completed") -> list[str]:
        messages = [item for item in self.output(name) if item["type"] == "message" and item["status"] == status]
        return ["".join(part["text"] for part in item["content"]) for item in messages]

    def count(self, name: str, kind: str) -> int:
        return [item["type"] for item in self.output(name)].count(kind)


def script(upstream: Upstream) -> list[Gate]:
    gates = [Gate() for _ in range(4)]
    said = {
        "speaking": [Text("one two", gate=gates[0])],
        "quiet": [Text("one two", gate=gates[1])],
        "several": [turn(Text("one two"), Text("three four", gate=gates[2]))],
        "calling": [turn(Text("Let me."), OSLO), Text("it is sunny")],
        "together": [turn(OSLO, ROME), Text("it is sunny")],
        "called": [OSLO, Text("it is sunny")],
        "answering": [OSLO, Text("it is sunny", gate=gates[3])],
        "unheard": [OSLO, Text("it is sunny"), Text("it is sunny")],
        "unwritten": [turn(Text("one"), Text("two"))],
        "unsaved": [Text("one two")],
    }
    for name, replies in said.items():
        upstream.when(name, *replies, Text("Bye."))
    return gates


def by_turn(upstream: Upstream) -> dict[str, list[dict[str, Any]]]:
    """What the service was asked: a request without words belongs to the turn that it continues."""
    names: dict[str, str] = {}
    posts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number, (body, lines) in enumerate(zip(upstream.requests, upstream.transcripts, strict=True), 1):
        said = next((line for line in lines if line.startswith("user: ")), "")
        name = next((name for name in STOPS if name in said), names.get(body.get("previous_response_id", ""), ""))
        names[f"resp_{number}"] = name
        posts[name].append({"id": f"resp_{number}", "after": body.get("previous_response_id"), "lines": lines})
    return posts


async def tell_story(root: Path) -> Story:
    def body(name: str) -> dict[str, Any]:
        metadata = {"name": name, "stop": STOPS[name]}
        return {"input": name, "background": True, "stream": name not in QUIET, "metadata": metadata}

    async with Upstream() as upstream:
        gates = script(upstream)
        before = await live(root, upstream.url, {"turns": [body(name) for name in STOPS]})
        for gate in gates:
            gate.open()
        streamed = {name: name not in QUIET for name in STOPS}
        after = await live(root, upstream.url, {"ids": before.ids, "streamed": streamed})
        return Story(before, after, by_turn(upstream), upstream.retrieved)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return asyncio.run(tell_story(tmp_path_factory.mktemp("lives")))


def test_every_turn_is_finished_and_gone_on_with(story: Story) -> None:
    told = story.after.told

    assert {name: told[name]["final"]["status"] for name in STOPS} == dict.fromkeys(STOPS, "completed")
    for name in STOPS:
        *_, answer, farewell = story.posts[name]
        assert farewell["lines"] == [f"user: go on, {name}"]
        assert farewell["after"] == answer["id"]
        assert told[name]["next"]["status"] == "completed"


def test_what_the_service_does_is_found_again_and_not_asked_for_again(story: Story) -> None:
    asked = {name: len(story.posts[name]) - 1 for name in STOPS}  # The last one is of the next turn.

    assert asked == {
        **dict.fromkeys(("speaking", "quiet", "several", "unwritten", "unsaved"), 1),
        **dict.fromkeys(("calling", "together", "called", "answering"), 2),
        ASKED_AGAIN: 3,
    }
    found = {name: [n for n, post in enumerate(story.posts[name]) if post["id"] in story.retrieved] for name in STOPS}
    first = ("speaking", "quiet", "several", "calling", "together", "unwritten")
    assert {name: places for name, places in found.items() if places} == {
        **{name: [0] for name in first},
        "answering": [1],
    }
    assert len(story.retrieved) == len(set(story.retrieved))


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("speaking", ["one two"]),
        ("quiet", ["one two"]),
        ("several", ["one two", "three four"]),
        ("calling", ["Let me.", "it is sunny"]),
        ("together", ["it is sunny"]),
        ("called", ["it is sunny"]),
        ("answering", ["it is sunny"]),
        ("unheard", ["it is sunny"]),
        ("unwritten", ["one", "two"]),
        ("unsaved", ["one two"]),
    ],
)
def test_each_text_is_there_once(story: Story, name: str, texts: list[str]) -> None:
    assert story.texts(name) == texts


def test_text_that_was_half_sent_stays_and_is_said_whole_behind_it(story: Story) -> None:
    cut = {name: story.texts(name, "incomplete") for name in STOPS}

    assert {name: texts for name, texts in cut.items() if texts} == {
        "speaking": ["one"],
        "several": ["three"],
        "answering": ["it"],
    }


@pytest.mark.parametrize("name", ["called", "answering", "unheard"])
def test_results_that_were_written_down_are_what_the_service_goes_on_with(story: Story, name: str) -> None:
    called, *answers, _ = story.posts[name]

    assert [*story.before.ran[name], *story.after.ran[name]] == ["Oslo"]
    for answer in answers:
        assert (answer["after"], answer["lines"]) == (called["id"], ["result sunny in Oslo"])


def test_tools_that_had_not_all_ended_run_again_with_calls_that_are_told_once(story: Story) -> None:
    assert story.after.ran["calling"] == ["Oslo"]
    assert sorted(story.after.ran["together"]) == ["Oslo", "Rome"]
    assert sorted(story.posts["together"][1]["lines"]) == ["result sunny in Oslo", "result sunny in Rome"]


def test_every_call_is_told_once_with_its_result(story: Story) -> None:
    calls = dict.fromkeys(("calling", "called", "answering", "unheard"), 1) | {"together": 2}

    for name in STOPS:
        made = [item for item in story.output(name) if item["type"] == "mcp_call"]
        # A call that was running when the process died has no result, and is made again.
        assert [item["output"] for item in made if item["status"] == "incomplete"] in ([], [None], [None, None])
        assert sum(item["status"] == "completed" for item in made) == calls.get(name, 0)


def test_who_was_cut_off_reads_one_sequence(story: Story) -> None:
    for name in (name for name in STOPS if name not in QUIET):
        sent = story.before.events[name]
        log = EventLog([sent[0], *story.after.told[name]["log"]], resumed=True)
        assert [event["sequence_number"] for event in log.events] == list(range(len(log.events)))
        assert log.events[: len(sent)] == sent
        assert [item["id"] for item in log.items] == [item["id"] for item in story.output(name)]


def test_no_token_is_left_and_none_is_shown(story: Story) -> None:
    assert {name: story.after.told[name]["left"] for name in STOPS} == dict.fromkeys(STOPS, False)
    for shown in (story.before.events, story.after.told):
        assert "resp_" not in str(shown).replace("caresp_", "")
