"""Checkpoints of workflows: the compressed state of a workflow at the end of a response.

A small checkpoint is stored inside the record of the snapshot, without a call of its own. A large one is divided into
parts that fit the state store. A response has at most one checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct, field

from hostedagent.identity import Caller
from hostedagent.protocol.types import Json
from hostedagent.stores.base import Key, Store, Write
from hostedagent.stores.values import dump_value, read_values

PART: Final = "checkpoint"

INLINE_CHARACTERS: Final = 400_000
"""The largest checkpoint, in its written form, that is kept in the snapshot's record."""

PART_CHARACTERS: Final = 900_000

RequestKind = Literal["info", "call", "approval"]


class OpenRequest(Struct, frozen=True):
    """A pending request of a workflow.

    Args:
        request_id: The workflow's id of the request.
        kind: Whether it is a request of an executor, or an agent's client-side tool call or approval request.
        answer: A reference to the type of the answer; `None` if it cannot be referenced.
        asked: A reference to the type of the request, needed to decode the checkpoint.
    """

    request_id: str
    name: str
    kind: RequestKind = "info"
    answer: Json = None
    asked: Json = None


class Checkpoint(Struct, frozen=True):
    """The location of a checkpoint.

    Args:
        response_id: The response that owns it and its parts.
        parts: The number of its parts; 0 if it is in `text`.
    """

    response_id: str
    parts: int = 0
    text: str = ""

    @property
    def is_elsewhere(self) -> bool:
        """Whether this is only a reference: a failed turn refers to the checkpoint of the response before it."""
        return not self.parts and not self.text


class WorkflowState(Struct, frozen=True):
    """The state of a workflow at the end of a response.

    Args:
        requests: Its pending requests, by the call id or approval request id on the wire.
        earlier: Earlier responses whose checkpoints are kept, oldest first.
    """

    checkpoint: Checkpoint
    requests: Mapping[str, OpenRequest] = field(default_factory=dict[str, OpenRequest])
    earlier: tuple[str, ...] = ()

    def named(self) -> WorkflowState:
        """Only its location."""
        return WorkflowState(Checkpoint(self.checkpoint.response_id))


class Checkpoints:
    """The checkpoints of workflows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def save(self, caller: Caller, response_id: str, data: bytes) -> Checkpoint:
        """Store a checkpoint. It is reachable once the snapshot that refers to it is saved."""
        text = base64.b64encode(zlib.compress(data)).decode()
        if len(text) <= INLINE_CHARACTERS:
            return Checkpoint(response_id, text=text)
        parts = [text[start : start + PART_CHARACTERS] for start in range(0, len(text), PART_CHARACTERS)]
        writes = [Write(_key(response_id, n), dump_value(PART, {"text": part})) for n, part in enumerate(parts)]
        await self._store.write(caller, writes)
        return Checkpoint(response_id, parts=len(parts))

    async def load(self, caller: Caller, checkpoint: Checkpoint) -> bytes | None:
        """The checkpoint; `None` if it, or a part of it, is lost."""
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
        """Delete the parts; a checkpoint inside a snapshot's record is deleted with the snapshot."""
        if checkpoint.parts:
            keys = [_key(checkpoint.response_id, n) for n in range(checkpoint.parts)]
            await self._store.delete(caller, keys)


def _key(response_id: str, n: int) -> Key:
    return Key(PART, f"{response_id}:{n}")
