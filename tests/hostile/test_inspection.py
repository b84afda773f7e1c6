"""What looks at objects of other people's code never raises, and never finds that a failed turn went well."""

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from agent_framework import AgentResponseUpdate, Content
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, PrivateAttr, model_serializer

from hostedagent.agents.result import Ending, reports_failure
from hostedagent.agents.usage import MOST, UsageCount
from hostedagent.failures import failure
from hostedagent.observability.logging import kinds_of, log_failure
from hostedagent.outcomes import Completed, Failed, Incomplete
from hostedagent.protocol.content.annotations import wire_annotations
from hostedagent.protocol.content.calls import raw_value
from hostedagent.protocol.content.provider_items import provider_item
from hostedagent.protocol.json import encode
from hostedagent.protocol.stream.builder import left_out
from hostedagent.protocol.types import CountUsage

SECRET = "secret-4711"


class Property:
    """An object all of whose attributes raise."""

    def __init__(self, error: type[BaseException]) -> None:
        object.__setattr__(self, "error", error)

    def __getattribute__(self, name: str) -> Any:
        if name in ("__class__", "__dict__"):
            return object.__getattribute__(self, name)
        raise object.__getattribute__(self, "error")(SECRET)


class Anything:
    """An object that has every attribute, as a mock does."""

    def __getattr__(self, name: str) -> Any:
        return self


class Broken(Mapping[str, Any]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(SECRET)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError(SECRET)

    def __len__(self) -> int:
        return 3


class Text(str):
    """A text that cannot be compared."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise RuntimeError(SECRET)

    __hash__ = None  # pyright: ignore[reportAssignmentType]


class Number(int):
    """A number that cannot be compared."""

    def __le__(self, other: int) -> bool:
        raise RuntimeError(SECRET)

    __ge__ = __lt__ = __gt__ = __le__


class Model(BaseModel):
    """A provider's object that cannot be dumped."""

    _secret: str = PrivateAttr(default=SECRET)

    @model_serializer
    def dump(self) -> dict[str, Any]:
        raise ValueError(self._secret)


def cyclic() -> dict[str, Any]:
    row: dict[str, Any] = {"type": "image_generation_call"}
    row["self"] = row
    return row


HOSTILE: list[Any] = [
    None, "", "text", b"bytes", 0, -1, 1, 10**400, math.nan, math.inf, -math.inf, 1.5, True, [], {}, ["unhashable"],
    {"un": "hashable"}, object(), Property(RuntimeError), Property(SystemExit),
    Property(KeyboardInterrupt), Anything(), Broken(),
    Text("rate_limit_exceeded"), Number(3), Model(), cyclic(), type("x\nforged", (), {})(), int,
]  # fmt: skip
values = st.sampled_from(HOSTILE)
FIELDS = ("type", "url", "title", "file_id", "additional_properties", "annotated_regions")
NAMES = ("input_token_count", "output_token_count", "total_token_count", "cache_read_input_token_count", "other")


def test_a_providers_item_that_cannot_be_dumped_counts_as_unknown() -> None:
    assert provider_item(Content("shell_tool_call", raw_representation=Model()), "shell_call") == {}


class CodedError(Exception):
    """An error of a model's service that carries whatever it likes."""


@st.composite
def errors(draw: st.DrawFn) -> BaseException:
    name = draw(st.sampled_from(["APIError", "x\nforged line", "a" * 500, "", f"a {SECRET}"]))
    error = type(name, (CodedError,), {})(SECRET)
    for field in ("code", "type", "status_code", "error", "body"):
        setattr(error, field, draw(values))
    if draw(st.booleans()):
        error.__cause__ = draw(st.sampled_from([error, ValueError(SECRET)]))
    return error


@given(errors())
def test_no_error_is_anything_but_a_failure(error: BaseException) -> None:
    assert isinstance(failure(error), Failed)
    assert SECRET not in failure(error).message


@given(errors())
def test_the_log_names_the_kinds_of_an_error_on_one_line_and_trusts_no_name(error: BaseException) -> None:
    lines: list[str] = []
    logger = logging.Logger("inspection", logging.INFO)
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)

    log_failure(logger, "It failed", error)

    (line,) = lines
    assert SECRET not in line and "\n" not in line and "forged" not in line
    assert len(kinds_of(error)) < 1_000


@given(st.lists(st.one_of(values, st.dictionaries(st.sampled_from(NAMES), values)), max_size=4))
def test_usage_that_is_no_count_is_not_counted(usages: list[Any]) -> None:
    count = UsageCount()
    for usage in usages:
        count.count(CountUsage(usage, replaces=False))

    wire = count.wire()
    encode({"usage": wire})
    for number in [wire["input_tokens"], wire["output_tokens"], wire["total_tokens"]] if wire else ():
        assert type(number) is int and 0 <= number <= 12 * MOST


@pytest.mark.parametrize("name", NAMES[:3])
def test_a_count_beside_one_that_is_none_still_counts(name: str) -> None:
    for wrong in HOSTILE:
        if type(wrong) in (int, float) and wrong in (0, 1, 1.5):
            continue
        count = UsageCount()
        others = [other for other in NAMES[:2] if other != name]
        usage: Any = {name: wrong, **dict.fromkeys(others, 5)}
        count.count(CountUsage(usage, replaces=False))
        assert 5 in count.wire().values(), f"{wrong!r} as {name} hid the other count"


@given(values, values, values)
def test_looking_at_an_update_never_raises(raw: Any, inner: Any, reason: Any) -> None:
    update = AgentResponseUpdate(contents=[])
    update.raw_representation = raw
    update.finish_reason = reason if isinstance(reason, str) else None
    holder = Anything()
    holder.__dict__["raw_representation"] = inner
    for seen in (raw, holder):
        update.raw_representation = seen
        ending = Ending()
        ending.see(update)
        assert isinstance(ending.outcome(), Completed | Incomplete | Failed)
        reports_failure(update)
        left_out(update)


@given(values, st.lists(st.one_of(values, st.dictionaries(st.sampled_from(FIELDS), values)), max_size=4))
def test_annotations_and_raw_representations_are_read_or_left_out(raw: Any, annotations: list[Any]) -> None:
    content = Content.from_text("x")
    content.raw_representation = raw

    assert isinstance(provider_item(content, "image_generation_call"), dict)
    raw_value(content, "id")
    for written in wire_annotations(annotations, 10):
        assert isinstance(written["type"], str)


def test_the_log_names_each_error_of_a_circle_once() -> None:
    error, cause = RuntimeError(), KeyError()
    error.__cause__, cause.__cause__ = cause, error

    assert kinds_of(error) == "RuntimeError from KeyError"
