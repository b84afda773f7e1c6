"""Checkpoints of workflows: what a response leaves of a workflow's state, compressed, beside its snapshot.

A small checkpoint is kept inside the snapshot's own record, so it costs no call of its own. A large one is cut into
parts that fit the state store. A response has one checkpoint at most, the one at its end.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

from hostedagent.identity import Caller
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import fields_of
from hostedagent.stores.base import Key, Store, Write
from hostedagent.stores.values import dump_value, read_values

PART: Final = "checkpoint"

INLINE_CHARACTERS: Final = 400_000
"""The largest checkpoint, in its written form, that is kept in the snapshot's record."""

PART_CHARACTERS: Final = 900_000

RequestKind = Literal["info", "call", "approval"]


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """Something a workflow waits for.

    Args:
        request_id: The id that the workflow knows it by.
        name: What the caller sees it called.
        kind: Whether an executor asks, or an agent's client-side tool or approval does.
        answer: The type of the answer, described; `None` where it has no description.
        asked: The type of what is asked, described; lets the checkpoint be read.
    """

    request_id: str
    name: str
    kind: RequestKind = "info"
    answer: Json = None
    asked: Json = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a checkpoint is.

    Args:
        response_id: The response that left it, which owns its parts.
        parts: How many parts it was cut into; 0 when it is in `text`.
        text: The checkpoint itself.
    """

    response_id: str
    parts: int = 0
    text: str = ""

    @property
    def is_elsewhere(self) -> bool:
        """Whether only the name is here: a failed turn leaves that of the response that it continued."""
        return not self.parts and not self.text


@dataclass(frozen=True, slots=True)
class WorkflowState:
    """What a response leaves of a workflow.

    Args:
        checkpoint: Its state.
        requests: What it waits for, by the call id or approval request id on the wire.
        earlier: The responses before it whose checkpoints still stand, oldest first.
    """

    checkpoint: Checkpoint
    requests: Mapping[str, OpenRequest] = field(default_factory=dict[str, OpenRequest])
    earlier: tuple[str, ...] = ()

    def named(self) -> WorkflowState:
        """Only where it is."""
        return WorkflowState(Checkpoint(self.checkpoint.response_id))

    def dump(self) -> Json:
        """The stored form."""
        return asdict(self)

    @classmethod
    def load(cls, value: Mapping[str, Json]) -> WorkflowState:
        """From the stored form."""
        requests = fields_of(value["requests"])
        return cls(
            Checkpoint(**value["checkpoint"]),
            {wire_id: OpenRequest(**request) for wire_id, request in requests.items()},
            tuple(value["earlier"]),
        )


class Checkpoints:
    """The checkpoints of workflows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def save(self, caller: Caller, response_id: str, data: bytes) -> Checkpoint:
        """Keep a checkpoint. It is reachable once the snapshot that names it is saved."""
        text = base64.b64encode(zlib.compress(data)).decode()
        if len(text) <= INLINE_CHARACTERS:
            return Checkpoint(response_id, text=text)
        parts = [text[start : start + PART_CHARACTERS] for start in range(0, len(text), PART_CHARACTERS)]
        writes = [Write(_key(response_id, n), dump_value(PART, {"text": part})) for n, part in enumerate(parts)]
        await self._store.write(caller, writes)
        return Checkpoint(response_id, parts=len(parts))

    async def load(self, caller: Caller, checkpoint: Checkpoint) -> bytes | None:
        """The checkpoint; `None` when it, or a part of it, is no longer there."""
        keys = [_key(checkpoint.response_id, n) for n in range(checkpoint.parts)]
        parts = [part for part in await read_values(self._store, caller, keys) if part is not None]
        if len(parts) < checkpoint.parts:
            return None
        text = checkpoint.text + "".join(str(part.value["text"]) for part in parts)
        try:
            return zlib.decompress(base64.b64decode(text))
        except (zlib.error, binascii.Error):
            return None

    async def delete(self, caller: Caller, checkpoint: Checkpoint) -> None:
        """Delete the parts; a checkpoint that is in a snapshot's record goes with that."""
        if checkpoint.parts:
            keys = [_key(checkpoint.response_id, n) for n in range(checkpoint.parts)]
            await self._store.delete(caller, keys)


def _key(response_id: str, n: int) -> Key:
    return Key(PART, f"{response_id}:{n}")
