"""What a content family is: one `Codec` row with its three directions, and what the codecs are given to work with.

`read` turns an item (of the input or of the history, they are the same) into Agent Framework contents. `open` starts
an output item from the first part that belongs to it; the `OpenItem` takes the later parts and closes the item.
`effect` serves the families that put nothing on the wire. Everything here is synchronous and does no I/O: what must be
done is yielded as an effect, and the turn driver does it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from hostedagent.options import OwnTools
from hostedagent.protocol.ids import new_batch, new_item_id
from hostedagent.protocol.stream.response import OutputItem, ResponseBuilder
from hostedagent.protocol.types import Effect, Emission, Event, Item, Json, MutableItem

if TYPE_CHECKING:
    from agent_framework import Content

    from hostedagent.protocol.content.own_tools import OpenOwnCall

Key: TypeAlias = tuple[str, ...]
"""Which open item a part belongs to: the family's name first, then what tells its items apart.

A key whose last element is empty names nothing: after its item has ended, it may come again and opens the next item.
"""

ItemRole = Literal["assistant", "tool", "user", "own"]
"""The role of the Agent Framework message that an item becomes part of; `own` when the item itself says."""


class Part(NamedTuple):
    """One content of an update, with what the update says about it. A tuple, because there is one for each token.

    `author` is the agent that speaks, `message_id` the provider's message, both `None` when unknown. `replaces` means
    that the content is a snapshot of everything so far, `position` its place among the contents of its type in an
    update that is a snapshot as a whole.
    """

    content: Content
    author: str | None = None
    message_id: str | None = None
    role: str = "assistant"
    replaces: bool = False
    position: int | None = None


@dataclass(frozen=True, slots=True)
class End:
    """Why an item is closed: the part that ends it, if one does, and whether what it holds is all there was."""

    before: Part | None = None
    status: Literal["completed", "incomplete"] = "completed"


COMPLETED = End()
INCOMPLETE = End(status="incomplete")


class OpenItem(Protocol):
    """An output item that has begun and not ended."""

    def ends_before(self, part: Part) -> bool:
        """Whether the item must be closed before `part`, which is another item's, comes out."""
        ...

    def append(self, part: Part) -> Iterable[Emission]:
        """Take a part that has the item's key; honours `part.replaces`."""
        ...

    def ends_at_finish(self, message_id: str | None) -> bool:
        """Whether the item must be closed when the model call that speaks as `message_id` has finished."""
        ...

    def finish_model_call(self, message_id: str | None, end: End) -> Iterable[Emission]:
        """Take note that the model call has finished, in an item that it does not close."""
        ...

    def close(self, end: End) -> Iterable[Emission]:
        """End the item; called once, nothing follows."""
        ...

    @property
    def outlasts(self) -> frozenset[str] | None:
        """Content types for which `ends_before` need not be asked, because it is false; `None` for all of them."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether the item has ended by itself (its last part said so); it is then forgotten, not closed."""
        ...


class BaseItem:
    """What most open items do: end when their author does something else, and when the model call finishes.

    Args:
        part: The first part; `append` gets it too.
        output: Where the item is begun, once there is something to say.
    """

    is_closed = False
    outlasts: frozenset[str] | None = frozenset()

    def __init__(self, part: Part, output: Output) -> None:
        self.first = part
        self.output = output
        self.item: OutputItem | None = None

    def ends_before(self, part: Part) -> bool:
        """Whether `part` comes from the same author, in the same message as far as is known."""
        same_message = part.message_id is None or part.message_id == self.first.message_id
        return same_message and part.author == self.first.author

    def ends_at_finish(self, message_id: str | None) -> bool:
        """Whether the model call that finished is the one that makes this item, as far as is known."""
        return message_id is None or self.first.message_id in (None, message_id)

    def finish_model_call(self, message_id: str | None, end: End) -> Iterable[Emission]:
        """Most items that outlast a model call do nothing when it finishes."""
        return ()


class WholeItem(BaseItem):
    """An item that one part says everything about: it opens and closes at once."""

    def __init__(self, prefix: str, write: Callable[[Part], MutableItem], part: Part, output: Output) -> None:
        super().__init__(part, output)
        self._prefix = prefix
        self._write = write

    def append(self, part: Part) -> Iterator[Emission]:
        """Emit the item."""
        item = self._write(part)
        opened = self.output.item(self._prefix, part)
        yield opened.added(dict(item, status="in_progress") if "status" in item else dict(item))
        yield opened.done(item)
        self.is_closed = True

    def close(self, end: End) -> Iterable[Emission]:
        """Nothing is left to do."""
        return ()


def whole(prefix: str, write: Callable[[Part], MutableItem]) -> Callable[[Part, Output], OpenItem]:
    """An `open` for a family whose items come whole: `write` builds the finished item, without its id."""

    def open_whole(part: Part, output: Output) -> OpenItem:
        return WholeItem(prefix, write, part, output)

    return open_whole


@dataclass(frozen=True, slots=True)
class ToolRoles:
    """Who runs a tool, by the tool's name. A tool that is in none of the sets is not known before it has run.

    Args:
        own: The tools that the agent runs.
        caller: The tools that the caller runs.
        asking: The tools of the agent that ask for approval before they run.
    """

    own: Container[str] = frozenset[str]()
    caller: Container[str] = frozenset[str]()
    asking: Container[str] = frozenset[str]()


@dataclass(slots=True)
class Batch:
    """Calls that the model made together.

    Args:
        mark: What the ids of their items end in.
        size: How many have begun.
    """

    mark: str = field(default_factory=new_batch)
    size: int = 0


@dataclass(slots=True)
class Output:
    """Where codecs open items: the response being built, and what the turn knows about it.

    Args:
        response: The response.
        tools: Who runs which tool.
        own_tools: How the calls of the agent's own tools are shown.
        consent_origins: The origins that a consent link may have; `None` for any.
        deferred_calls: The ids of calls that a later turn asks about or runs.
        earlier_call: Finds a call of an earlier turn by its id.
    """

    response: ResponseBuilder
    tools: ToolRoles = field(default_factory=lambda: ToolRoles())
    own_tools: OwnTools = "mcp_call"
    consent_origins: frozenset[str] | None = None
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
        """Begin an item. Nothing else may begin one before its `added` event has been yielded."""
        return self.response.open_item(self.new_id(prefix, batch), part.author)

    def join_batch(self, author: str | None) -> Batch:
        """The batch of a call that begins."""
        batch = self.batches.setdefault(author, Batch())
        batch.size += 1
        return batch

    def end_batch(self, author: str | None, batch: Batch) -> None:
        """Note that a call of the batch has its result: what is called from now on is another batch."""
        if self.batches.get(author) is batch:
            del self.batches[author]

    def keep_hidden(self) -> Iterator[Event]:
        """An empty message for hidden calls that no item follows; the last events of a response."""
        if self.response.has_hidden:
            message: MutableItem = {"type": "message", "role": "assistant", "status": "completed", "content": []}
            item = self.response.open_item(self.new_id("msg"), None)
            yield item.added({**message, "status": "in_progress"})
            yield item.done(message)

    def new_id(self, prefix: str, batch: Batch | None = None) -> str:
        """An id for an item of this response."""
        return new_item_id(prefix, self.response.id, batch.mark if batch is not None else "")


@dataclass(frozen=True, slots=True)
class Codec:
    """One content family: what Agent Framework calls it, what Responses calls it, and the directions between them.

    Args:
        family: The family's name, also the first element of its keys.
        content_types: Agent Framework content types that the family emits.
        item_types: Responses item types that the family reads, with the role each has in a transcript.
        read: Item to contents. Raises `InvalidRequest` when the item cannot be understood.
        open: First part of an item to the open item; emits nothing yet, `append` is called with the same part next.
        effect: Part to effects, for families that put nothing on the wire.
        key: Which open item a part belongs to; `None` for the one of the family that its author opened last.
        is_repeatable: Whether a key may come again after its item ended. Where it may not, what comes is a repeat of
            what was sent and is dropped, unless the key names nothing. Where it may, no item ends by itself.
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
    """What `OutputItem.remember` kept with a stored item; empty for items that came from a caller."""
    metadata = item.get("internal_metadata")
    if metadata is None:
        return {}
    values = metadata.get("hostedagent") if isinstance(metadata, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return values if isinstance(values, Mapping) else {}  # pyright: ignore[reportUnknownVariableType]
