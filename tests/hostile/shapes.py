"""Agents that yield, return and carry what they must not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

from agent_framework import AgentResponse, AgentResponseUpdate, Content, ResponseStream

from hostedagent.testing import ScriptedAgent
from tests.hostile.raising import SECRET, Odd


class Streams(ScriptedAgent):
    """Runs whatever async iterator it is given."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self._make = make

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return self._make()


def yields(*values: Any) -> Callable[[], Any]:
    """An agent that says a word, then yields values that need not be updates."""

    async def updates() -> AsyncIterator[Any]:
        yield AgentResponseUpdate(contents=[Content.from_text("before ")])
        for value in values:
            yield value() if callable(value) else value

    return lambda: Streams(lambda: ResponseStream(updates(), finalizer=AgentResponse.from_updates))


def update(*contents: Any, **fields: Any) -> AgentResponseUpdate:
    made = AgentResponseUpdate(contents=[Content.from_text("x")])
    made.contents = list(contents)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


class Raises:
    """An object all of whose attributes raise."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("__class__", "__dict__"):
            return object.__getattribute__(self, name)
        raise RuntimeError(SECRET)


class Exits:
    """An object that exits when it is looked at."""

    def __init__(self, error: type[BaseException] = SystemExit) -> None:
        self._error = error

    def __bool__(self) -> bool:
        raise self._error(SECRET)

    def __eq__(self, other: object) -> bool:
        raise self._error(SECRET)

    __hash__ = None  # pyright: ignore[reportAssignmentType]


class ExitingUpdate(AgentResponseUpdate):
    """An update that exits when it is read."""

    def __getattribute__(self, name: str) -> Any:
        if name == "finish_reason":
            raise KeyboardInterrupt(SECRET)
        return super().__getattribute__(name)


def content(kind: str, **fields: Any) -> Content:
    made = Content.from_text("x")
    made.type = kind  # pyright: ignore[reportAttributeAccessIssue]
    for name, value in fields.items():
        setattr(made, name, value)
    return made


class CodedError(Exception):
    """As a client's of a model's service, with whatever it likes as its code."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(SECRET)
        self.__dict__.update(fields)


class Body:
    """The `error` of an exception, with a code that cannot be a key."""

    def __init__(self) -> None:
        self.code: Any = ["unhashable"]
        self.type: Any = {"un": "hashable"}


def _named(name: str) -> BaseException:
    return type(name, (Exception,), {})(SECRET)


def _deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


async def _deaf() -> None:
    for _ in range(60):
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue


class ClosingRaises:
    """A stream whose end can be reached, but that cannot be closed."""

    def __init__(self, *, hangs: bool = False) -> None:
        self._hangs = hangs
        self._count = 0

    def __aiter__(self) -> "ClosingRaises":
        return self

    async def __anext__(self) -> AgentResponseUpdate:
        self._count += 1
        if self._count > 2:
            raise StopAsyncIteration
        return AgentResponseUpdate(contents=[Content.from_text("word ")])

    async def close(self) -> None:
        if self._hangs:
            await asyncio.Event().wait()
        raise SystemExit(SECRET)


def _self_containing() -> dict[str, Any]:
    row: dict[str, Any] = {}
    row["self"] = row
    return row


def _call(call_id: str) -> AgentResponseUpdate:
    return update(content("function_call", call_id=call_id, name="f", arguments="{}"))


def usage(**counts: Any) -> AgentResponseUpdate:
    return update(content("usage", usage_details=counts))


SHAPES: Final[dict[str, Callable[[], Any]]] = {
    "run returns None": lambda: Streams(lambda: None),
    "run returns a number": lambda: Streams(lambda: 7),
    "run returns a coroutine of None": lambda: Streams(lambda: asyncio.sleep(0)),
    "run returns a list": lambda: Streams(lambda: [1]),
    "yields nothing": lambda: ScriptedAgent([]),
    "yields None": yields(None),
    "yields a str": yields("words"),
    "yields an exception": yields(lambda: ValueError(SECRET)),
    "yields what raises when looked at": yields(Raises),
    "yields what exits when read": yields(lambda: ExitingUpdate(contents=[Content.from_text("x")])),
    "yields a finish reason that exits": yields(lambda: update(content("text", text="x"), finish_reason=Exits())),
    "yields a role that exits": yields(lambda: update(content("text", text="x"), role=Exits(KeyboardInterrupt))),
    "yields arguments that exit": yields(
        lambda: update(content("function_call", call_id="c", name="f", arguments=Exits()))
    ),
    "yields arguments that raise a BaseException": yields(
        lambda: update(content("function_call", call_id="c", name="f", arguments=Exits(Odd)))
    ),
    "contents are None": yields(lambda: update(contents=None)),
    "contents hold None": yields(lambda: update(None)),
    "contents hold what raises": yields(lambda: update(Raises())),
    "an unknown type": yields(lambda: update(content("no_such_type"))),
    "a type that is no text": yields(lambda: update(content(["text"]))),  # pyright: ignore[reportArgumentType]
    "text is None": yields(lambda: update(content("text", text=None))),
    "text is bytes": yields(lambda: update(content("text", text=b"\xff\xfe"))),
    "text is a number": yields(lambda: update(content("text", text=7))),
    "text is 4 MB": yields(lambda: update(content("text", text="x" * 4_000_000))),
    "5,000 updates": yields(*[lambda: update(content("text", text="x"))] * 5_000),
    "lone surrogates": yields(lambda: update(content("text", text="\ud800 \udfff"))),
    "control characters": yields(lambda: update(content("text", text="\x00\x1b[2J\r\n\u2028"))),
    "events inside text": yields(lambda: update(content("text", text="\n\ndata: {}\n\nevent: response.completed\n\n"))),
    "message id is a list": yields(lambda: update(content("text", text="x"), message_id=["m"])),
    "author is an object": yields(lambda: update(content("text", text="x"), author_name=object())),
    "role is unknown": yields(lambda: update(content("text", text="x"), role="emperor")),
    "role is None": yields(lambda: update(content("text", text="x"), role=None)),
    "finish reason is an object": yields(lambda: update(content("text", text="x"), finish_reason=object())),
    "finish reason is unhashable": yields(lambda: update(content("text", text="x"), finish_reason=["stop"])),
    "raw representation raises": yields(lambda: update(content("text", text="x"), raw_representation=Raises())),
    "raw of a content raises": yields(lambda: update(content("text", text="x", raw_representation=Raises()))),
    "annotations are a text": yields(lambda: update(content("text", text="x", annotations="all"))),
    "annotations hold None": yields(lambda: update(content("text", text="x", annotations=[None, 7]))),
    "annotations hold what raises": yields(lambda: update(content("text", text="x", annotations=[Raises()]))),
    "properties contain themselves": yields(
        lambda: update(content("text", text="x", additional_properties=_self_containing()))
    ),
    "usage is text": yields(lambda: usage(input_token_count="seven", output_token_count="3")),
    "usage is negative": yields(lambda: usage(input_token_count=-1, output_token_count=-5)),
    "usage is not a number": yields(lambda: usage(input_token_count=float("nan"), output_token_count=float("inf"))),
    "usage is enormous": yields(lambda: usage(input_token_count=10**400, output_token_count=2**70)),
    "usage is a list": yields(lambda: usage(input_token_count=[1], output_token_count={})),
    "usage details are None": yields(lambda: update(content("usage", usage_details=None))),
    "usage details are a text": yields(lambda: update(content("usage", usage_details="much"))),
    "usage details raise": yields(lambda: update(content("usage", usage_details=Raises()))),
    "a call without an id": yields(lambda: update(content("function_call", call_id=None, name="f", arguments="{}"))),
    "a call without a name": yields(lambda: update(content("function_call", call_id="c", name=None, arguments="{}"))),
    "a call whose id is a list": yields(lambda: update(content("function_call", call_id=["c"], name="f"))),
    "arguments are no JSON": yields(lambda: update(content("function_call", call_id="c", name="f", arguments="{"))),
    "arguments are an object": yields(
        lambda: update(content("function_call", call_id="c", name="f", arguments=object()))
    ),
    "arguments contain themselves": yields(
        lambda: update(content("function_call", call_id="c", name="f", arguments=_self_containing()))
    ),
    "arguments are 5,000 deep": yields(
        lambda: update(content("function_call", call_id="c", name="f", arguments={"a": _deep(5000)}))
    ),
    "a call twice": yields(*[lambda: update(content("function_call", call_id="c", name="f", arguments="{}"))] * 2),
    "300 calls": yields(*[partial(_call, f"call_{n}") for n in range(300)]),
    "a result without a call": yields(lambda: update(content("function_result", call_id="never", result="x"))),
    "a result that raises": yields(lambda: update(content("function_result", call_id="c", result=Raises()))),
    "a result that contains itself": yields(
        lambda: update(content("function_result", call_id="c", result=_self_containing()))
    ),
    "a result that is an object": yields(lambda: update(content("function_result", call_id="c", result=object()))),
    "an error content": yields(lambda: update(content("error", message=SECRET, error_code="rate_limit_exceeded"))),
    "an error content with an odd code": yields(lambda: update(content("error", message=SECRET, error_code=["x"]))),
    "reasoning without text": yields(lambda: update(content("text_reasoning", text=None))),
    "reasoning of bytes": yields(lambda: update(content("text_reasoning", text=b"\xff"))),
    "data that is no address": yields(lambda: update(content("data", uri="not an address"))),
    "data without an address": yields(lambda: update(content("data", uri=None))),
    "an address that is a number": yields(lambda: update(content("uri", uri=7, media_type=7))),
    "an approval without a call": yields(lambda: update(content("function_approval_request", id="a"))),
    "a consent link to a file": yields(
        lambda: update(content("oauth_consent_request", consent_link="file:///etc/passwd"))
    ),
    "a consent link that is a list": yields(lambda: update(content("oauth_consent_request", consent_link=["x"]))),
    "an image result that raises": yields(lambda: update(content("image_generation_tool_result", outputs=Raises()))),
    "code without inputs": yields(lambda: update(content("code_interpreter_tool_call", call_id="c", inputs=None))),
    "a shell call of numbers": yields(lambda: update(content("shell_tool_call", call_id="c", commands=[1, None]))),
    "a search whose results raise": yields(lambda: update(content("search_tool_result", call_id="c", result=Raises()))),
    "an MCP result without a call": yields(
        lambda: update(content("mcp_server_tool_result", call_id="c", output=Raises()))
    ),
    "an error with an unhashable code": lambda: ScriptedAgent(["before ", CodedError(code=["x"], type={"y": 1})]),
    "an error with an unhashable body": lambda: ScriptedAgent(["before ", CodedError(error=Body())]),
    "an error whose body raises": lambda: ScriptedAgent(["before ", CodedError(error=Raises())]),
    "an error whose code raises": lambda: ScriptedAgent(["before ", CodedError(code=Raises())]),
    "an error whose status is a text": lambda: ScriptedAgent(["before ", CodedError(status_code="429")]),
    "an error whose status is unhashable": lambda: ScriptedAgent(["before ", CodedError(status_code=[429])]),
    "an error whose response raises": lambda: ScriptedAgent(["before ", CodedError(response=Raises(), body=Raises())]),
    "an error named like a log line": lambda: ScriptedAgent(["before ", _named(f"E\n2026 ERROR {SECRET}")]),
    "an error with a name of 100,000 characters": lambda: ScriptedAgent(["before ", _named("E" * 100_000)]),
    "a stream that exits when closed": lambda: Streams(ClosingRaises),
    "a stream that hangs when closed": lambda: Streams(lambda: ClosingRaises(hangs=True)),
    "is silent": lambda: ScriptedAgent(["before ", lambda: asyncio.sleep(60)]),
    "is deaf to its cancellation": lambda: ScriptedAgent(["before ", _deaf, "after"]),
    "closes slowly": lambda: _closing(lambda: asyncio.sleep(60)),
    "closes with a number": lambda: _closing(lambda: 7),
}
"""What an agent does, by its name."""


FAILS: Final = frozenset(
    name for name in SHAPES if name.startswith(("run returns", "yields ", "an error ")) and name != "yields nothing"
) | {"is silent", "is deaf to its cancellation"}
"""Behaviours that leave nothing to answer with."""

ENDS_WELL: Final = frozenset(
    name
    for name in SHAPES
    if name.startswith(("usage is", "closes", "a stream that", "finish reason", "raw representation"))
) | {"yields nothing", "text is 4 MB", "5,000 updates", "300 calls", "lone surrogates", "events inside text"}
"""Behaviours that must not cost the answer. What the others come to depends on the content."""


def _closing(close: Callable[[], Any]) -> Any:
    agent: Any = ScriptedAgent(["before ", "after"])
    agent.close = close
    return agent
