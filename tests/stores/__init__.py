"""The stores that the tests' hosts use: `pytest --stores memory|file|foundry`, so that one suite proves all three."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from hostedagent.emulator import Emulator, call_id_for
from hostedagent.identity import CALL_ID_HEADER, USER_ID_HEADER
from hostedagent.stores.choice import Stores, file_stores, foundry_stores, memory_stores

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

StoreKind: TypeAlias = Literal["memory", "file", "foundry"]
KINDS: Final[tuple[StoreKind, ...]] = ("memory", "file", "foundry")


@dataclass(slots=True)
class Chosen:
    """What the run was started with."""

    kind: StoreKind = "memory"


CHOSEN: Final = Chosen()


@asynccontextmanager
async def opened(kind: StoreKind | None = None) -> AsyncGenerator[tuple[Stores, Callable[[Any], ASGIApp]]]:
    """Stores of a kind, and what gives an app's callers the identity that these stores need."""
    async with AsyncExitStack() as stack:
        match kind or CHOSEN.kind:
            case "memory":
                yield memory_stores(), lambda app: app
            case "file":
                folder = stack.enter_context(TemporaryDirectory(prefix="hostedagent-test-"))
                yield file_stores(folder), lambda app: app
            case "foundry":
                emulator = await stack.enter_async_context(Emulator(anonymous="refuse"))
                emulator.trust()
                yield foundry_stores(endpoint=emulator.endpoint, credential=emulator.credential), Identified


class Identified:
    """Adds a user and a fresh call id to requests that carry none, as the platform does."""

    def __init__(self, app: ASGIApp, *, user: str = "test-user") -> None:
        self._app = app
        self._user = user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = cast("list[tuple[bytes, bytes]]", scope.get("headers", []))
        if scope["type"] == "http" and not any(name.lower() == USER_ID_HEADER.encode() for name, _ in headers):
            scope = {**scope, "headers": [*headers, *_identity(self._user)]}
        await self._app(scope, receive, send)


def _identity(user: str) -> list[tuple[bytes, bytes]]:
    return [(USER_ID_HEADER.encode(), user.encode()), (CALL_ID_HEADER.encode(), call_id_for(user).encode())]
