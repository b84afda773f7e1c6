"""Turns in the background whose process dies or ends are finished by the next one: nothing is lost, nothing twice."""

import asyncio
import json
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

from hostedagent.emulator import Emulator
from hostedagent.testing import EventLog

PROJECT = Path(__file__).parents[2]
How = Literal[
    "killed twice",
    "killed when hosted",
    "ended in order twice",
    "own routes: killed twice",
    "own routes: ended in order twice",
]


def turn(name: str, kind: str, stop: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "kind": kind, "stop": stop}, "stream": True, **more}


ASKS: dict[str, Any] = {"metadata": {"kind": "asks"}}
TALKS: dict[str, Any] = {"metadata": {"kind": "plain"}}
IN = {"conversation": "conv_1"}


def turns(how: How) -> list[dict[str, Any]]:
    every = [
        turn("half", "tool", "in the answer"),
        turn("unseen", "tool", "in the answer", stream=False),
        turn("running", "tool", "in the tool"),
        turn("talk", "plain", "in the answer", **IN, before={**TALKS, **IN}),
        turn("steps", "workflow", "in the second"),
        turn("quiet", "workflow", "in the second", stream=False),
    ]
    approvals = [
        turn("approved", "asks", "in the answer", conversation="conv_2", before={**ASKS, "conversation": "conv_2"}),
        turn("approving", "asks", "in the approved tool", before=ASKS),
    ]
    if "in order" in how:
        return [*every, *approvals]
    endings = [
        turn("unsaved", "plain", "before commit", conversation="conv_3", before={**TALKS, "conversation": "conv_3"}),
        turn("saved", "plain", "after commit", conversation="conv_4", stream=False),
        turn("telling", "tool", "in on_outcome"),
        turn("broken", "broken", "after commit"),
        turn("caller", "plain", "in the answer", conversation="conv_5", background=False),
    ]
    if "twice" in how:
        endings.append(turn("lost", "plain", "in the answer", conversation="conv_6"))
    return [*every, *approvals, *endings]


@dataclass(slots=True)
class Life:
    """What one process said, by turn."""

    ids: dict[str, str] = field(default_factory=dict[str, str])
    events: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    ran: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    outcomes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    first: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    final: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    prompts: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    left: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def take(self, line: dict[str, Any]) -> None:
        match line:
            case {"name": name, "id": response_id}:
                self.ids[name] = response_id
            case {"name": name, "event": event}:
                self.events[name].append(event)
            case {"name": name, "ran": what}:
                self.ran[name].append(what)
            case {"name": name, "outcome": outcome}:
                self.outcomes[name].append(outcome)
            case {"name": name, "log": log}:
                self.logs[name] = log
            case {"name": name, "first": first}:
                self.first[name] = first
            case {"name": name, "final": final}:
                self.final[name] = final
            case {"name": name, "prompt": prompt}:
                self.prompts[name] = prompt
            case {"name": name, "left": left}:
                self.left[name] = left
            case _:
                pass


@dataclass(slots=True)
class Story:
    """The lives of a host: the one in which the turns began, those in which they stopped again, and the last."""

    before: Life
    again: list[Life]
    after: Life

    def log(self, name: str) -> list[dict[str, Any]]:
        """What somebody reads who was cut off after the first event."""
        return [self.before.events[name][0], *self.after.logs[name]]

    def ran(self, name: str, what: str) -> int:
        return sum(life.ran[name].count(what) for life in (self.before, *self.again, self.after))

    def told(self, name: str) -> list[str]:
        return [outcome for life in (self.before, *self.again, self.after) for outcome in life.outcomes[name]]

    @property
    def deaths(self) -> int:
        return 1 + len(self.again)


async def live(root: Path, plan: dict[str, Any], environment: dict[str, str]) -> Life:
    life = Life()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.crash.mortal", str(root), json.dumps(plan)),
        stdout=asyncio.subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, "AGENTSERVER_STATE_ROOT": str(root / "sdk"), **environment},
        limit=2**24,
    )
    assert process.stdout is not None
    has_stopped = False
    async for text in process.stdout:
        line = json.loads(text)
        life.take(line)
        if "stopped" in line:
            has_stopped = True
            if not plan.get("ends"):
                process.kill()
    assert await process.wait() == (0 if "ids" in plan or plan.get("ends") else -9)
    assert has_stopped == ("ids" not in plan)
    return life


async def tell_story(root: Path, how: How) -> Story:
    begun = turns(how)
    names = [row["metadata"]["name"] for row in begun]
    driver = "starlette" if "own routes" in how else "agentserver"
    plan = {
        "driver": driver,
        "streamed": {
            name: row["stream"] and row.get("background", True) for name, row in zip(names, begun, strict=True)
        },
        "places": {name: row.get("conversation") for name, row in zip(names, begun, strict=True)},
    }
    async with Emulator(anonymous="refuse") as emulator:
        environment = {"AGENTSERVER_TASKS_BACKEND": "local", **emulator.environment} if "hosted" in how else {}
        before = await live(root, {"driver": driver, "turns": begun, "ends": "in order" in how}, environment)
        once_more = {"driver": driver, "again": in_background(how)}
        once_more |= {"ends": True} if "in order" in how else {"lost": "conv_6"}
        again = [await live(root, once_more, environment)] if "twice" in how else []
        after = await live(root, {"ids": before.ids, **plan}, environment)
    return Story(before, again, after)


@pytest.fixture(scope="module", params=get_args(How))
def how(request: pytest.FixtureRequest) -> How:
    return request.param


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, how: How) -> Story:
    return asyncio.run(tell_story(tmp_path_factory.mktemp("lives"), how))


def in_background(how: How) -> list[str]:
    names = [row["metadata"]["name"] for row in turns(how) if row.get("background", True)]
    return [name for name in names if name not in ("broken", "lost")]


def texts(items: Sequence[dict[str, Any]], status: str = "completed") -> list[str]:
    messages = [item for item in items if item["type"] == "message" and item["status"] == status]
    return ["".join(part["text"] for part in item["content"]) for item in messages]


def test_every_turn_ends_and_is_told_of(story: Story, how: How) -> None:
    names = in_background(how)

    assert {name: story.after.final[name]["status"] for name in names} == dict.fromkeys(names, "completed")
    assert {name: story.after.outcomes[name] for name in names} == {name: ["Completed"] for name in names}
    assert {name: left for name, left in story.after.left.items() if left} == {}
    assert {name for name in names if story.before.outcomes[name][1:]} == set()


def test_who_asks_at_once_is_not_told_that_it_is_gone(story: Story, how: How) -> None:
    assert {story.after.first[name]["status"] for name in in_background(how)} <= {"in_progress", "completed"}


def test_who_was_cut_off_reads_one_sequence(story: Story, how: How) -> None:
    for name in in_background(how):
        if name not in story.after.logs:
            continue
        log = EventLog(story.log(name), resumed=True)
        sent = story.before.events[name]
        assert [event["sequence_number"] for event in log.events] == list(range(len(log.events)))
        assert log.events[: len(sent)] == sent
        assert [item["id"] for item in log.items] == [item["id"] for item in story.after.final[name]["output"]]


def test_every_item_is_there_once(story: Story) -> None:
    for final in story.after.final.values():
        ids = [item["id"] for item in final["output"]]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", ["half", "unseen"])
def test_a_tool_that_has_answered_is_not_run_again(story: Story, name: str) -> None:
    final = story.after.final[name]

    assert story.ran(name, "look_up") == 1
    assert story.after.ran[name] == ["model"]
    assert [item["type"] for item in final["output"]].count("mcp_call") == 1
    assert texts(final["output"]) == ["Let me. ", "it is done"]


def test_text_that_was_half_sent_stays_and_counts_for_nothing(story: Story) -> None:
    assert texts(story.after.final["half"]["output"], "incomplete") == ["it is "] * story.deaths
    assert texts(story.after.final["unseen"]["output"], "incomplete") == []
    for name in ("half", "unseen"):
        assert story.after.prompts[name] == [
            f"user: {name}",
            "assistant: Let me. ",
            'assistant: -> look_up({"city": "Oslo"})',
            "tool: <- sunny in Oslo",
            "assistant: it is done",
            "user: next",
        ]


def test_a_tool_that_was_running_is_run_again(story: Story) -> None:
    assert story.ran("running", "look_up") == 1 + story.deaths
    assert story.after.prompts["running"].count("tool: <- sunny in Oslo") == 1


def test_a_conversation_is_gone_on_with(story: Story) -> None:
    said = ["user: before", "assistant: it re before", "user: talk", "assistant: it re talk", "user: next"]

    assert story.after.prompts["talk"] == said


@pytest.mark.parametrize("name", ["steps", "quiet"])
def test_a_workflow_goes_on_at_its_checkpoint(story: Story, name: str) -> None:
    said = texts(story.after.final[name]["output"])

    assert story.ran(name, "first") == 1
    assert story.ran(name, "second") == 1 + story.deaths
    assert said.count("first says hello") == 1
    assert said[-2:] == ["second begins with hello", "second heard hello"]


def test_an_approved_call_that_has_run_does_not_run_again(story: Story) -> None:
    assert story.ran("approved", "book") == 1
    assert texts(story.after.final["approved"]["output"]) == ["it is done"]
    assert story.after.prompts["approved"][-3:] == ["tool: <- booked Oslo", "assistant: it is done", "user: next"]


def test_an_approval_that_was_used_up_still_counts_for_its_turn(story: Story) -> None:
    assert story.ran("approving", "book") == 1 + story.deaths
    assert texts(story.after.final["approving"]["output"]) == ["it is done"]


@pytest.mark.parametrize("name", ["unsaved", "saved", "telling"])
def test_a_run_that_had_ended_is_only_saved(story: Story, how: How, name: str) -> None:
    if "in order" in how:
        pytest.skip("the same way")
    assert story.after.ran[name] == []
    assert len(texts(story.after.final[name]["output"], "incomplete")) == 0
    assert story.after.prompts[name][-1] == "user: next"
    assert story.after.prompts[name][-2].startswith("assistant: it ")


def test_a_turn_in_the_foreground_ends_with_its_process(story: Story, how: How) -> None:
    if "in order" in how:
        pytest.skip("its caller would be waited for")
    assert story.after.ran["caller"] == []
    assert story.after.final["caller"]["status"] == "failed"
    if "hosted" not in how:  # Foundry does not tell that a process has died: its conversations are free a minute later.
        assert story.after.prompts["caller"] == ["user: next"]


def test_a_turn_that_has_failed_is_not_tried_again(story: Story, how: How) -> None:
    if "in order" in how:
        pytest.skip("the same way")
    assert story.ran("broken", "model") == 1
    assert story.told("broken") == ["Failed"]
    assert EventLog(story.log("broken"), resumed=True).status == "failed"


def test_a_turn_whose_conversation_another_one_has_had_fails(story: Story, how: How) -> None:
    if "killed twice" not in how:
        pytest.skip("the same way")
    lost = story.after.final["lost"]

    assert [*story.again[0].ran["lost"], *story.after.ran["lost"]] == []
    assert (lost["status"], lost["error"]["code"]) == ("failed", "server_error")
    assert story.again[0].outcomes["lost"] == ["Failed"]
    assert story.after.prompts["lost"] == ["user: next"]
