"""`TurnRequest`: a create-response body, parsed once at the door. Nothing deeper asks the body anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from hostedagent.errors import InvalidRequest
from hostedagent.identity import Caller, IsolationKeys, RequestContext, Scope, current_context, enter_context
from hostedagent.options import CallerPolicy
from hostedagent.protocol.checks import filled, flag, mapping, optional, text
from hostedagent.protocol.content.parts import is_part_type
from hostedagent.protocol.ids import new_item_id
from hostedagent.protocol.request.normalization import normalize_body
from hostedagent.protocol.request.options import RunOptions, parse_options
from hostedagent.protocol.transcript.reading import ItemReader
from hostedagent.protocol.transcript.tool_pairing import is_empty
from hostedagent.protocol.types import Item, Json
from hostedagent.protocol.values import is_array, is_object, rows_of

if TYPE_CHECKING:
    from agent_framework import Content

_LONGEST_ID: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRequest:
    """One turn: what the caller sent, and who and where it is.

    Factories, middleware and tools get it too (`hostedagent.current_turn()`).

    Args:
        input: The input items, never empty. A text input is one user message.
        options: The options of the request.
        metadata: The caller's metadata, at most 16 pairs of strings.
        user: The caller's own name for its end user; a claim, not an identity (see `isolation`).
        previous_response_id: The response this turn continues.
        conversation_id: The conversation this turn belongs to.
        history: The conversation's items so far, where admission had to read them; `None` where it had not.
        stream: Whether the caller reads events.
        store: Whether the response is stored.
        background: Whether the turn outlives the request.
        compact_threshold: Tokens at which the conversation is compacted; `None` for never.
        generates: Whether the agent is run; otherwise the turn only keeps its input for those that continue it.
        response_id: The id of the response being made.
        sandbox_session_id: `agent_session_id`: the platform's sandbox session.
        caller: The owner of the turn.
        client_headers: The request's `x-client-*` headers, names in lower case.
        door: The door that the request came through: `responses`, or the name of another one.
        state: State that a front end shares with the agent, which may change it; `None` if there is none.
        reader: Reads the turn's items; has read the input.
    """

    input: tuple[Item, ...]
    options: RunOptions = field(default_factory=RunOptions)
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str | None = None
    previous_response_id: str | None = None
    conversation_id: str | None = None
    history: tuple[Item, ...] | None = None
    stream: bool = False
    store: bool = True
    background: bool = False
    compact_threshold: int | None = None
    generates: bool = True
    response_id: str = ""
    sandbox_session_id: str | None = None
    caller: Caller = field(default_factory=Caller)
    client_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    door: str = "responses"
    state: dict[str, Json] | None = None
    reader: ItemReader = field(default_factory=ItemReader, repr=False, compare=False)

    @classmethod
    def parse(cls, body: Mapping[str, Json], policy: CallerPolicy, caller: Caller | None = None) -> TurnRequest:
        """Parse the fields of a create-response body, as `parse_body` returns them.

        Args:
            policy: The fields that callers may set.

        Raises:
            InvalidRequest: A value is malformed, out of range or contradicts another; `param` names it.
            UnsupportedOption: The policy does not allow a field; `param` names it.
        """
        previous, conversation = (
            optional(filled, body.get("previous_response_id"), "previous_response_id"),
            _conversation(body),
        )
        if previous is not None and conversation is not None:
            raise InvalidRequest(
                "previous_response_id and conversation exclude each other: send one of them.",
                param="previous_response_id",
            )
        request = cls(
            input=_input(body),
            options=parse_options(body, policy),
            metadata=parse_metadata(body.get("metadata")),
            user=optional(filled, body.get("user"), "user"),
            previous_response_id=previous,
            conversation_id=conversation,
            stream=_flag(body, "stream", False),
            store=_flag(body, "store", True),
            background=_flag(body, "background", False),
            compact_threshold=parse_compaction(body.get("context_management")),
            caller=caller or Caller(),
        )
        _check_session_id(body.get("agent_session_id"))
        _check_reference(body.get("agent_reference"))
        if request.background and not request.store:
            raise InvalidRequest("background=true needs store=true.", param="background")
        request.check_input()
        return request

    @property
    def isolation(self) -> IsolationKeys:
        """The identity keys that the platform sent."""
        return self.caller.isolation

    @property
    def scope(self) -> Scope:
        """The data that this turn may access."""
        return self.caller.scope

    def named(
        self,
        response_id: str = "",
        sandbox_session_id: str | None = None,
        client_headers: Mapping[str, str] | None = None,
    ) -> TurnRequest:
        """The request with what the door knows of it. As `dataclasses.replace`, for a third of its cost.

        Args:
            response_id: The id of the response, if the platform or the door chose it; otherwise a new one.
            sandbox_session_id: The platform's sandbox session.
            client_headers: The request's `x-client-*` headers, if they are known.
        """
        known = dict(zip(_NAMES, _VALUES(self), strict=True))
        if not response_id:
            response_id = new_item_id("caresp", self.previous_response_id or self.conversation_id or "")
        known["response_id"], known["sandbox_session_id"] = response_id, sandbox_session_id
        if client_headers:
            known["client_headers"] = client_headers
        return TurnRequest(**known)

    def echo(self) -> dict[str, Json]:
        """The fields that the response repeats."""
        said: dict[str, Json] = {
            "metadata": self.metadata or None,
            "background": self.background,
            "previous_response_id": self.previous_response_id,
            "conversation": {"id": self.conversation_id} if self.conversation_id else None,
            **self.options.echo,
        }
        return {name: value for name, value in said.items() if value is not None}

    def check_input(self) -> None:
        """Read every input item, so that one that cannot be read is refused before anything is stored.

        Raises:
            InvalidRequest: An item has an unknown type or lacks a required field, or no item has any content.
        """
        has_content = self.has_references()
        for n, item in enumerate(self.input):
            param = f"input[{n}]"
            contents = self.reader.read_input(item, param)
            if not isinstance(item.get("content"), str):
                _check_parts(item, f"{param}.content")
            has_content = has_content or any(map(_has_content, contents))
        if not has_content:
            raise InvalidRequest("input is empty: provide text, a file, or a tool output.", param="input")

    def has_references(self) -> bool:
        """Whether the input names stored items that must be looked up."""
        return "item_reference" in [item.get("type") for item in self.input]

    async def effect(self, key: str, perform: Callable[[], Awaitable[Json] | Json], *, repeats: bool = False) -> Json:
        """Run a side effect of a tool once in this turn, also when a crash makes another process continue the turn.

        Args:
            key: Names the effect within the turn, with whatever tells it from another, such as an order's number.
            perform: The effect, sync or async. Its result must be JSON; it is stored for the retention.
            repeats: Whether to run it again where a process ended during it.

        Returns:
            The result, of this call or of the one that ran it.

        Raises:
            EffectUncertain: It began before and its result was never stored, because it was cancelled or its process
                ended, so that it may or may not have happened.
            LookupError: Called outside a turn.
            RuntimeError: Called inside itself, so that it would wait for itself.
        """
        context = current_context()
        if context is None or context.effect is None:
            raise LookupError("There is no turn: effect() works inside the agent, its middleware and its tools.")
        return await context.effect(self.caller, self.response_id, key, perform, repeats=repeats)

    def platform_headers(self) -> dict[str, str]:
        """Headers that every call to Foundry on behalf of this request must carry."""
        return self.caller.platform_headers()


_NAMES: Final = tuple(row.name for row in fields(TurnRequest))
_VALUES: Final = attrgetter(*_NAMES)


def _check_parts(item: Item, param: str) -> None:
    """Refuse parts that no model could be shown. What is stored is read leniently: it may come from elsewhere."""
    parts = item.get("content") if item.get("type") == "message" else None
    for n, part in enumerate(rows_of(parts)):
        if not is_part_type(kind := part.get("type")):
            place = f"{param}[{n}].type"
            raise InvalidRequest(f"{place} {kind!r:.80} is not a type of content.", param=place)


def _has_content(content: Content) -> bool:
    return content.type != "text_reasoning" and not is_empty(content)


def current_turn() -> TurnRequest:
    """The turn being served, inside the agent, its middleware and its tools.

    Raises:
        LookupError: Called outside a turn.
    """
    context = current_context()
    if context is None or not isinstance(context.request, TurnRequest):
        raise LookupError("There is no turn: current_turn() works inside the agent, its middleware and its tools.")
    return context.request


def set_current_turn(request: TurnRequest) -> None:
    """Make `request` the current turn of this context and of every task started from it."""
    context = current_context()
    if context is None:
        enter_context(RequestContext(request.caller, request))
    else:
        context.request = request


_MAX_SESSION_ID: Final = 256


def _check_session_id(value: Json) -> None:
    """It is repeated in a header of the answer, which takes neither control characters nor other alphabets."""
    is_sound = isinstance(value, str) and len(value) <= _MAX_SESSION_ID and value.isascii() and value.isprintable()
    if value is not None and not is_sound:
        raise InvalidRequest(
            f"agent_session_id has at most {_MAX_SESSION_ID} printable ASCII characters.", param="agent_session_id"
        )


def _check_reference(value: Json) -> None:
    """It is repeated in the response and in its items."""
    if value is None:
        return
    value = mapping(value, "agent_reference")
    name = value.get("name")
    if (kind := value.get("type")) != "agent_reference":
        raise InvalidRequest(
            f'agent_reference.type must be "agent_reference", not {kind!r:.80}.', param="agent_reference.type"
        )
    if not isinstance(name, str) or not name.strip():
        raise InvalidRequest("agent_reference.name must be a non-empty string.", param="agent_reference.name")
    optional(text, value.get("version"), "agent_reference.version")


_MESSAGE_ROLES = ("user", "assistant", "system", "developer")


_OTHER_INPUTS: Final = ("prompt", "messages")
"""Fields of other protocols, or of a stored prompt, that clients fill in when they mean `input`."""


def _input(body: Mapping[str, Json]) -> tuple[Item, ...]:
    value = body.get("input")
    if isinstance(value, str) and value:
        part = {"type": "input_text", "text": value}
        return ({"type": "message", "role": "user", "content": [part]},)
    if value is None and (others := [name for name in _OTHER_INPUTS if name in body]):
        raise InvalidRequest(
            f"input is missing. {others[0]} is not read as input: send the text or the items of the turn in input.",
            param="input",
        )
    if not is_array(value) or not value:
        raise InvalidRequest("input must be a non-empty string or a non-empty array of items.", param="input")
    return tuple([_item(item, "input", n) for n, item in enumerate(value)])


def parse_items(value: Json) -> tuple[Item, ...]:
    """The items that a caller brings outside of a turn, complete.

    Raises:
        InvalidRequest: It is no array of items, or one cannot be read; `param` is its path.
    """
    if not is_array(value):
        raise InvalidRequest("items must be an array of items.", param="items")
    rows = rows_of(normalize_body({"input": value}, has_nulls=True)["input"])
    items = tuple([_item(row, "items", n) for n, row in enumerate(rows)])
    reader = ItemReader()
    for n, item in enumerate(items):
        reader.read_input(item, f"items[{n}]")
        _check_parts(item, f"items[{n}].content")
    return items


def _item(value: Json, name: str, n: int) -> Item:
    value = mapping(value, f"{name}[{n}]")
    if value.get("type") == "message" and value.get("role") not in _MESSAGE_ROLES:
        param = f"{name}[{n}]"
        raise InvalidRequest(f"{param}.role must be one of {', '.join(_MESSAGE_ROLES)}.", param=f"{param}.role")
    return value


def _conversation(body: Mapping[str, Json]) -> str | None:
    value = body.get("conversation")
    if is_object(value):
        value = text(value.get("id"), "conversation.id")
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidRequest("conversation must be a conversation id or an object with one.", param="conversation")
    if value is not None and (len(value) > _LONGEST_ID or not value.isprintable()):
        raise InvalidRequest(f"A conversation id has at most {_LONGEST_ID} printable characters.", param="conversation")
    return value


def _flag(body: Mapping[str, Json], name: str, default: bool) -> bool:
    value = body.get(name)
    return default if value is None else flag(value, name)


def parse_metadata(value: Json) -> dict[str, str]:
    """The caller's metadata; raises `InvalidRequest` where it is too much, or no pairs of texts."""
    if value is None:
        return {}
    if not is_object(value):
        raise InvalidRequest("metadata must be an object of strings.", param="metadata")
    if len(value) > 16:
        raise InvalidRequest("metadata has more than 16 pairs.", param="metadata")
    for key, row in value.items():
        if not isinstance(row, str) or len(row) > 512 or len(key) > 64:
            raise InvalidRequest(
                "metadata keys have at most 64 characters, values are strings of at most 512.", param="metadata"
            )
    return dict(value)


DEFAULT_THRESHOLD: Final = 200_000
"""The tokens at which a conversation is compacted whose request names no number."""

_MANAGEMENT: Final = "context_management"


def parse_compaction(value: Json) -> int | None:
    """The number of tokens at which the conversation is compacted; `None` where that is not asked for.

    Raises:
        InvalidRequest: It is no array of at most one compaction, or its threshold is no positive integer.
    """
    if value is None or value == []:
        return None
    if not is_array(value) or len(value) > 1:
        raise InvalidRequest(f"{_MANAGEMENT} must be an array of one entry.", param=_MANAGEMENT)
    entry, place = value[0], f"{_MANAGEMENT}[0]"
    if not is_object(entry):
        raise InvalidRequest(f"{place} must be an object.", param=place)
    if (kind := entry.get("type")) != "compaction":
        raise InvalidRequest(f"{place}.type must be compaction, not {kind!r:.80}.", param=f"{place}.type")
    threshold = entry.get("compact_threshold")
    if threshold is None:
        return DEFAULT_THRESHOLD
    if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 1:
        param = f"{place}.compact_threshold"
        raise InvalidRequest(f"{param} must be a positive integer, not {threshold!r:.80}.", param=param)
    return threshold
