"""The interface of a content family: one `Codec` row with its three directions, and the types that codecs work with.

`read` turns an item of the input or the history into Agent Framework contents. `open` starts an output item from its
first part; the `OpenItem` takes the later parts and closes the item. `effect` serves the families that have no item.
Everything here is synchronous and does no I/O: effects are yielded and performed by the turn driver.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from msgspec import Struct, field

from hostedagent.options import Consent, OwnTools
from hostedagent.protocol.ids import new_batch, new_item_id
from hostedagent.protocol.stream.response import OutputItem, ResponseBuilder
from hostedagent.protocol.types import Effect, Emission, Event, Item, Json, MutableItem
from hostedagent.protocol.values import fields_of
from hostedagent.protocol.wire import Characters, wire_text

if TYPE_CHECKING:
    from agent_framework import Content

    from hostedagent.protocol.content.own_tools import OpenOwnCall

logger = logging.getLogger(__name__)

PartKind = TypeVar("PartKind", bound=str)

Key: TypeAlias = tuple[str, ...]
"""Which open item a part belongs to: the family's name first, then what tells its items apart.

A key whose last element is empty is anonymous: after its item has ended, it may occur again and opens the next item.
"""

ItemRole = Literal["assistant", "tool", "user", "own"]
"""The role of the Agent Framework message that an item becomes part of; `own` when the item itself says."""


class Part(NamedTuple):
    """One content of an update, with the fields of the update that concern it. A tuple, because there is one per token.

    `author` is the agent that produced it, `message_id` the provider's message, both `None` if unknown. `replaces`
    means that the content is a snapshot of everything so far, `position` its place among the contents of its type in
    an update that is a snapshot as a whole.
    """

    content: Content
    author: str | None = None
    message_id: str | None = None
    role: str = "assistant"
    replaces: bool = False
    position: int | None = None


class End(Struct, frozen=True):
    """Why an item is closed: the part that ends it, if any, and whether the item is complete."""

    before: Part | None = None
    status: Literal["completed", "incomplete"] = "completed"


COMPLETED = End()
INCOMPLETE = End(status="incomplete")


class OpenItem(ABC):
    """An output item that has started and not ended.

    By default, it ends at the next part of another item and when the model call finishes.

    Args:
        part: The first part; `append` gets it too.
        output: Starts the item once it has content.

    Attributes:
        outlasts: Content types for which `ends_before` is always false and need not be called; `None` for all of them.
        is_closed: Whether the item has ended by itself with its last part; it is then forgotten, not closed.
    """

    outlasts: frozenset[str] | None = frozenset()
    is_closed = False

    def __init__(self, part: Part, output: Output) -> None:
        self.first = part
        self.output = output
        self.item: OutputItem | None = None

    @property
    def opened(self) -> OutputItem:
        """The item on the wire; only after it was started there."""
        assert self.item is not None
        return self.item

    def ends_before(self, part: Part) -> bool:
        """Whether the item must be closed before `part`, which belongs to another item, is sent.

        By default, if `part` has the same author and, if known, the same message.
        """
        same_message = part.message_id is None or part.message_id == self.first.message_id
        return same_message and part.author == self.first.author

    @abstractmethod
    def append(self, part: Part) -> Iterable[Emission]:
        """Take a part that has the item's key; honours `part.replaces`."""

    def ends_at_finish(self, message_id: str | None) -> bool:
        """Whether the item must be closed when the model call of `message_id` has finished.

        By default, if that is the model call of this item, as far as is known.
        """
        return message_id is None or self.first.message_id in (None, message_id)

    def finish_model_call(self, message_id: str | None, end: End) -> Iterable[Emission]:
        """Record that the model call has finished, in an item that this does not close."""
        return ()

    def close(self, end: End) -> Iterable[Emission]:
        """End the item; called once, as the last method. Nothing is left to do for one that arrived whole."""
        return ()


class GrowingPart(Generic[PartKind]):
    """One text part of an item while it grows. Deltas are collected, not concatenated."""

    __slots__ = ("characters", "chunks", "index", "is_sealed", "kind")

    def __init__(self, kind: PartKind, index: int) -> None:
        self.kind = kind
        self.index = index
        self.characters = Characters()
        self.chunks: list[str] = []
        self.is_sealed = False

    def text(self) -> str:
        """The text so far."""
        if len(self.chunks) > 1:
            self.chunks = ["".join(self.chunks)]
        return self.chunks[0] if self.chunks else ""


def missing_text(part: Part, kind: PartKind, current: GrowingPart[PartKind] | None, place: int) -> str:
    """The text of a snapshot that has not been sent yet.

    Args:
        current: The part of the item that is open, if any.
        place: The position of the part after the finished ones.
    """
    snapshot = wire_text(part.content.text or "")
    if current is not None:
        current.characters.half = ""  # The snapshot repeats the character whole.
    if part.position is not None and part.position < place:
        return ""  # A snapshot of the whole item repeats its earlier parts, which are done.
    if part.position not in (None, place) or current is None or current.kind != kind:
        return snapshot
    said = current.text()
    if snapshot.startswith(said):
        rest = snapshot[len(said) :]
        current.is_sealed = current.is_sealed and not rest
        return rest
    if not current.is_sealed:
        logger.warning("A snapshot contradicts the text already sent, which is kept.")
    return snapshot if current.is_sealed else ""


class WholeItem(OpenItem):
    """An item that one part contains whole: it opens and closes at once."""

    def __init__(self, prefix: str, write: Callable[[Part], MutableItem], part: Part, output: Output) -> None:
        super().__init__(part, output)
        self._prefix = prefix
        self._write = write

    def append(self, part: Part) -> Iterator[Emission]:
        """Emit the item."""
        item = self._write(part)
        opened = self.output.item(self._prefix, part)
        if item.get("id"):
            opened.remember(provider_id=item["id"])
        yield opened.added(dict(item, status="in_progress") if "status" in item else dict(item))
        yield opened.done(item)
        self.is_closed = True


def whole(prefix: str, write: Callable[[Part], MutableItem]) -> Callable[[Part, Output], OpenItem]:
    """An `open` for a family whose items arrive whole.

    Args:
        write: Builds the finished item. Its `id`, if there is one, is the provider's, which is stored and not sent.
    """

    def open_whole(part: Part, output: Output) -> OpenItem:
        return WholeItem(prefix, write, part, output)

    return open_whole


class ToolRoles(Struct, frozen=True):
    """Tool names by who runs them. Who runs a tool in none of the sets is unknown until it has run.

    Args:
        asking: The tools of the agent that ask for approval before they run.
    """

    own: Container[str] = frozenset[str]()
    caller: Container[str] = frozenset[str]()
    asking: Container[str] = frozenset[str]()


class Batch(Struct):
    """Parallel calls of one model answer.

    Args:
        mark: The common suffix of their item ids.
    """

    mark: str = field(default_factory=new_batch)
    size: int = 0


class Output(Struct):
    """Starts output items: the response being built, and the settings of the turn that codecs need.

    Args:
        tools: Which tools the agent and the caller run.
        own_tools: How calls of the agent's own tools are shown.
        consent_origins: The origins that a consent link may have; `None` for any.
        consent: How a consent link is sent.
        deferred_calls: The ids of calls that a later turn asks about or runs.
        earlier_call: Finds a call of an earlier turn by its id.
    """

    response: ResponseBuilder
    tools: ToolRoles = field(default_factory=lambda: ToolRoles())
    own_tools: OwnTools = "mcp_call"
    consent_origins: frozenset[str] | None = None
    consent: Consent = "item"
    deferred_calls: Container[str] = frozenset[str]()
    earlier_call: Callable[[str], Content | None] = lambda call_id: None
    own_calls: list[OpenOwnCall] = field(default_factory=list["OpenOwnCall"])
    """The agent's calls that have no result yet, in the order in which they began."""
    batches: dict[str | None, Batch] = field(default_factory=dict[str | None, "Batch"])
    """The calls that each author has begun and that have no result yet."""
    caller_calls: set[str] = field(default_factory=set[str])
    """The ids of the calls that were given to the caller."""
    answered: Content | None = None
    """The result that ended a call last."""

    def item(self, prefix: str, part: Part, batch: Batch | None = None) -> OutputItem:
        """Start an item. No other item may start before its `added` event has been yielded."""
        return self.response.open_item(self.new_id(prefix, batch), part.author)

    def join_batch(self, author: str | None) -> Batch:
        """The batch of a call that starts."""
        batch = self.batches.setdefault(author, Batch())
        batch.size += 1
        return batch

    def end_batch(self, author: str | None, batch: Batch) -> None:
        """Record that a call of the batch has its result: later calls form another batch."""
        if self.batches.get(author) is batch:
            del self.batches[author]

    def keep_hidden(self) -> Iterator[Event]:
        """An empty message that carries hidden calls without a following item; the last events of a response."""
        if self.response.has_hidden:
            message: MutableItem = {"type": "message", "role": "assistant", "status": "completed", "content": []}
            item = self.response.open_item(self.new_id("msg"), None)
            yield item.added({**message, "status": "in_progress"})
            yield item.done(message)

    def new_id(self, prefix: str, batch: Batch | None = None) -> str:
        """An id for an item of this response."""
        return new_item_id(prefix, self.response.id, batch.mark if batch is not None else "")


class Codec(Struct, frozen=True):
    """One content family: its Agent Framework content types, its Responses item types, and the conversions.

    Args:
        family: The family's name, also the first element of its keys.
        content_types: Agent Framework content types that the family emits.
        item_types: Responses item types that the family reads, with the role each has in a transcript.
        read: Item to contents. Raises `InvalidRequest` if the item is malformed.
        open: First part of an item to the open item; emits nothing yet, `append` is called with the same part next.
        effect: Part to effects, for families without items.
        key: Which open item a part belongs to; `None` for the one of the family that its author opened last.
        is_repeatable: Whether a key may occur again after its item ended. If not, a later part with the key is a repeat
            and is dropped, unless the key is anonymous. If so, no item ends by itself.
        absent: Direction (`read`, `emit` or `stream`) to the reason why the family does not have it.
        limits: Sentences for `docs/limitations.md`.
    """

    family: str
    content_types: tuple[str, ...] = ()
    item_types: Mapping[str, ItemRole] = field(default_factory=dict[str, ItemRole])
    read: Callable[[Item], Sequence[Content]] | None = None
    open: Callable[[Part, Output], OpenItem] | None = None
    effect: Callable[[Part], Iterable[Effect]] | None = None
    key: Callable[[Part], Key | None] | None = None
    is_repeatable: bool = False
    absent: Mapping[str, str] = field(default_factory=dict[str, str])
    limits: tuple[str, ...] = ()


def recall(item: Item) -> Mapping[str, Json]:
    """The values that `OutputItem.remember` kept with a stored item; empty for items from a caller."""
    metadata = item.get("internal_metadata")
    return fields_of(fields_of(metadata).get("hostedagent")) if metadata is not None else {}
