"""What every client is tried with: the agent, what its model answers, and what client and model must see in the end.

A feature is tried plain and streamed where the client has both, each on a host of its own. What a client must return
is the same for all of them, and so is what the model must have been asked, so no driver can be right on its own terms.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from agent_framework import Agent, ToolApprovalMiddleware, tool

from tests.clients.upstream import (
    RATE_LIMITED,
    Part,
    Reasoning,
    Reply,
    Text,
    ToolCall,
    Upstream,
    responses_client,
    turn,
)

INSTRUCTIONS: Final = "You report the weather."
PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
NOTES: Final = "Ada lives in Paris."
LINK: Final = "https://login.example/consent"
CLIENT_INSTRUCTIONS: Final = "Answer in French."

_PARIS: Final = ToolCall("weather", {"city": "Paris"})
_SUNNY: Final = Text("It is sunny in Paris.")
_NOON: Final = Text("It is noon in Paris.")
_HELLO: Final = Text("Hello, Ada.")
_YOU: Final = Text("You are Ada.")
_DELETE: Final = ToolCall("delete_file", {"path": "a.txt"})
_DELETED: Final = Text("It is deleted.")
_DELETING: Final = ["user: Delete a.txt.", 'call delete_file {"path": "a.txt"}', "result deleted a.txt"]
_SYSTEM: Final = f"system: {INSTRUCTIONS}"
_ASKED: Final = [
    _SYSTEM,
    "user: How is the weather in Paris?",
    'call weather {"city": "Paris"}',
    "result sunny in Paris",
]
_THREE_TURNS: Final = [
    _SYSTEM,
    "user: My name is Ada.",
    "assistant: Hello, Ada.",
    *_ASKED[1:],
    "assistant: It is sunny in Paris.",
    "user: Who am I?",
]
_CONSENT: Final = "assistant: [oauth_consent_request: the user was asked for consent to use mail]"
_AFTER_CONSENT: Final = [*_THREE_TURNS[:2], _CONSENT, *_THREE_TURNS[3:]]


@dataclass(frozen=True, slots=True)
class Contains:
    """Expects a text with this in it."""

    text: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.text in other

    __hash__ = None  # pyright: ignore[reportAssignmentType]


@dataclass(frozen=True, slots=True)
class Observed:
    """What one host saw while a client used it: the model's requests, and the files that the agent deleted."""

    upstream: Upstream
    deleted: list[str] = field(default_factory=list[str])


Check = Callable[[Observed], Iterator[str]]
"""Yields a sentence for each thing that is not as it must be."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One row of the table: what happens, and what must be seen of it."""

    title: str
    about: str
    script: tuple[Reply | Part, ...]
    result: Any
    asked: list[str]
    """The newest request of the model, as the lines of its transcript."""
    check: Check | None = None
    needs_call: bool = True
    """Whether the model is called at all."""
    is_workflow: bool = False
    """Whether the host serves the workflow of `desk` instead of the agent."""
    keeps_rules: bool = False
    """Whether the agent has a `ToolApprovalMiddleware`, which remembers what was approved for good."""
    asks_for_consent: bool = False
    """Whether the agent can be created only after its user was asked for consent."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Options of the host, beside those that the client needs."""
    played_as: str | None = None
    """The feature whose steps the driver takes, if it has none of its own."""


def _deleted(*paths: str) -> Check:
    def check(observed: Observed) -> Iterator[str]:
        if observed.deleted != list(paths):
            yield f"the agent deleted {observed.deleted}, not {list(paths)}"

    return check


def _items(observed: Observed) -> list[Mapping[str, Any]]:
    return observed.upstream.requests[-1]["input"]


def reasoning_came_back(observed: Observed) -> Iterator[str]:
    """The provider gets its own ciphertext under its own id."""
    sent = [(item.get("id"), item.get("encrypted_content")) for item in _items(observed) if item["type"] == "reasoning"]
    made = [("rs_1_0", "cipher-1"), ("rs_2_0", "cipher-2")]
    if sent != made:
        yield f"the model's service got the reasoning {sent}, not {made}"


def _image_came(observed: Observed) -> Iterator[str]:
    if f"data:image/png;base64,{PIXEL}" not in str(observed.upstream.requests[-1]):
        yield "the image did not reach the model"


def notes_came(observed: Observed) -> Iterator[str]:
    """The text of the file reaches the model, as text."""
    sent = str(observed.upstream.requests[-1])
    if NOTES not in sent:
        encoded = base64.b64encode(NOTES.encode()).decode()
        how = "as an encoded file, which not every model reads" if encoded in sent else "not at all"
        yield f"the file's text did not reach the model as text: {how}"


def _named_notes_came(observed: Observed) -> Iterator[str]:
    yield from notes_came(observed)
    if "notes.txt" not in str(observed.upstream.requests[-1]):
        yield "the file's name did not reach the model"


def _schema_came(observed: Observed) -> Iterator[str]:
    wanted = observed.upstream.requests[-1].get("text", {}).get("format", {}).get("type")
    if wanted != "json_schema":
        yield f"the model was asked for {wanted!r}, not for JSON of a schema"


def _instructions_came(observed: Observed) -> Iterator[str]:
    lines = observed.upstream.transcripts[-1]
    wanted = [_SYSTEM, CLIENT_INSTRUCTIONS, "user: Say hello."]
    if not all(any(text in line for line in lines) for text in wanted):
        yield f"the model saw {lines}"


FEATURES: Final[Mapping[str, Feature]] = {
    "text": Feature("Text", "A question and its answer.", (_HELLO,), "Hello, Ada.", [_SYSTEM, "user: My name is Ada."]),
    "instructions": Feature(
        "Instructions",
        "Instructions of the client reach the model beside the agent's own.",
        (Text("Bonjour."),),
        "Bonjour.",
        [],
        check=_instructions_came,
    ),
    "own_tools": Feature(
        "Agent's tools",
        "The agent calls its own tool; the client gets the answer and runs nothing.",
        (_PARIS, _SUNNY),
        "It is sunny in Paris.",
        _ASKED,
    ),
    "client_tools": Feature(
        "Client's tools",
        "The model calls a tool of the client, which runs it and sends the result.",
        (ToolCall("clock", {"city": "Paris"}), _NOON),
        "It is noon in Paris.",
        [_SYSTEM, "user: What time is it in Paris?", 'call clock {"city": "Paris"}', "result noon"],
    ),
    "both_tools": Feature(
        "Both tools",
        "The agent's own tool and then the client's, in one conversation.",
        (_PARIS, ToolCall("clock", {"city": "Paris"}), _NOON),
        "It is noon in Paris.",
        [*_ASKED, 'call clock {"city": "Paris"}', "result noon"],
    ),
    "structured": Feature(
        "Structured",
        "JSON that follows a schema, parsed into the client's own type, after a call of the agent's tool.",
        (_PARIS, Text('{"city": "Paris", "degrees": 21}')),
        {"city": "Paris", "degrees": 21},
        _ASKED,
        check=_schema_came,
    ),
    "chain": Feature(
        "By id",
        "Three turns, each continuing the one before by its id. The second calls the agent's tool.",
        (_HELLO, _PARIS, _SUNNY, _YOU),
        ["Hello, Ada.", "It is sunny in Paris.", "You are Ada."],
        _THREE_TURNS,
    ),
    "consent": Feature(
        "Consent",
        "The same three turns, of which the first asks for the user's consent: the client shows the link and "
        'continues. With `HostOptions(consent="message")`.',
        (_PARIS, _SUNNY, _YOU),
        [Contains(LINK), "It is sunny in Paris.", "You are Ada."],
        _AFTER_CONSENT,
        asks_for_consent=True,
        options={"consent": "message"},
        played_as="chain",
    ),
    "consent_item": Feature(
        "Consent item",
        "The same without that option: the link is in an `oauth_consent_request`, and the response is `incomplete`.",
        (_PARIS, _SUNNY, _YOU),
        [LINK, "It is sunny in Paris.", "You are Ada."],
        _AFTER_CONSENT,
        asks_for_consent=True,
    ),
    "history": Feature(
        "History",
        "The same three turns, with the client's own history objects sent back.",
        (_HELLO, _PARIS, _SUNNY, _YOU),
        ["Hello, Ada.", "It is sunny in Paris.", "You are Ada."],
        _THREE_TURNS,
    ),
    "dumped": Feature(
        "Saved history",
        "The same, with the history saved as JSON and loaded between turns.",
        (_HELLO, _PARIS, _SUNNY, _YOU),
        ["Hello, Ada.", "It is sunny in Paris.", "You are Ada."],
        _THREE_TURNS,
    ),
    "approve": Feature(
        "Approval",
        "The agent asks before it runs a tool, the client agrees, and the tool runs once.",
        (_DELETE, _DELETED),
        {"asked": [["delete_file", {"path": "a.txt"}]], "text": "It is deleted."},
        [_SYSTEM, *_DELETING],
        check=_deleted("a.txt"),
    ),
    "reject": Feature(
        "Rejection",
        "The agent asks before it runs a tool, the client refuses, and the tool does not run.",
        (_DELETE, Text("I did not delete it.")),
        {"asked": [["delete_file", {"path": "a.txt"}]], "text": "I did not delete it."},
        [
            _SYSTEM,
            "user: Delete a.txt.",
            'call delete_file {"path": "a.txt"}',
            "result Error: Tool call invocation was rejected by user.",
        ],
        check=_deleted(),
    ),
    "standing": Feature(
        "Standing approval",
        "The client approves a tool for good, with `always_approve`: the next turn calls the tool without asking.",
        (_DELETE, _DELETED, ToolCall("delete_file", {"path": "b.txt"}), Text("So is that.")),
        {"asked": [["delete_file", {"path": "a.txt"}]], "texts": ["It is deleted.", "So is that."]},
        [
            _SYSTEM,
            *_DELETING,
            "assistant: It is deleted.",
            "user: Delete b.txt.",
            'call delete_file {"path": "b.txt"}',
            "result deleted b.txt",
        ],
        check=_deleted("a.txt", "b.txt"),
        keeps_rules=True,
    ),
    "question": Feature(
        "Question",
        "A workflow asks a person; the client answers like a call of its own tool, by the response's id, and an agent "
        "of the workflow continues with the answer.",
        (Text("Order 7 is refunded."),),
        "Order 7 is refunded.",
        [_SYSTEM, "user: Refund order 7.", "user: The refund of order 7 was granted."],
        is_workflow=True,
    ),
    "reasoning": Feature(
        "Reasoning",
        "With `store=false`, the model gets its encrypted reasoning back unchanged, under its own id.",
        (
            turn(Reasoning(("Look outside.",), encrypted="cipher-1"), _PARIS),
            turn(Reasoning(("Say it.",), encrypted="cipher-2"), _SUNNY),
            _YOU,
        ),
        ["It is sunny in Paris.", "You are Ada."],
        [
            *_ASKED[:2],
            "reasoning Look outside.",
            *_ASKED[2:],
            "reasoning Say it.",
            "assistant: It is sunny in Paris.",
            "user: Who am I?",
        ],
        check=reasoning_came_back,
    ),
    "image": Feature(
        "Image",
        "An image reaches the model.",
        (Text("A pixel."),),
        "A pixel.",
        [_SYSTEM, "user: What is this?", "user: [input_image]"],
        check=_image_came,
    ),
    "text_file": Feature(
        "Text file",
        "A text file reaches the model as text, with its name.",
        (Text("In Paris."),),
        "In Paris.",
        [],
        check=_named_notes_came,
    ),
    "failure": Feature(
        "Failure",
        "The model's service fails, and the client shows the error's code.",
        (RATE_LIMITED,),
        Contains("rate_limit_exceeded"),
        [_SYSTEM, "user: Hi."],
    ),
    "refusal": Feature(
        "Refusal",
        "A wrong value is refused, and the client shows which value.",
        (),
        Contains("temperature"),
        [],
        needs_call=False,
    ),
}


@tool
def weather(city: Annotated[str, "Name of the city"]) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


def agent(observed: Observed, *, keeps_rules: bool = False) -> Any:
    """The agent that every client talks to: instructions, a tool, and a tool that needs approval."""

    @tool(approval_mode="always_require")
    def delete_file(path: str) -> str:
        """Delete a file."""
        observed.deleted.append(path)
        return f"deleted {path}"

    return Agent(
        client=responses_client(observed.upstream),
        instructions=INSTRUCTIONS,
        name="weather-agent",
        tools=[weather, delete_file],
        middleware=[ToolApprovalMiddleware()] if keeps_rules else None,
    )


def problems(feature: Feature, observed: Observed, *, is_exact: bool, lost: Sequence[str] = ()) -> Iterator[str]:
    """What the model should have been asked but was not.

    Args:
        feature: What was tried, with the check that counts for the client.
        observed: What the host saw.
        is_exact: Whether the model sees nothing but the lines of the feature.
        lost: The beginnings of the lines that the client does not send.
    """
    yield from observed.upstream.problems
    if not observed.upstream.requests:
        if feature.needs_call:
            yield "the model was never called"
        return
    if not feature.needs_call:
        yield "the model was called for a request that should have been refused"
        return
    lines = [_in_one_form(line) for line in observed.upstream.transcripts[-1]]
    wanted = feature.asked
    lines, wanted = ([line for line in row if not line.startswith(tuple(lost))] for row in (lines, wanted))
    if wanted and (lines != wanted if is_exact else not {*wanted} <= {*lines}):
        yield f"the model was asked {lines}, not {wanted}"
    if feature.check is not None:
        yield from feature.check(observed)


def _in_one_form(line: str) -> str:
    """The line with a call's arguments in the form of `json.dumps`: clients parse them and write them in their own."""
    call = re.fullmatch(r"(call \S+ )(\{.*\})", line)
    return line if call is None else call[1] + json.dumps(json.loads(call[2]))
