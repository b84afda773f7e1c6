"""The stores of the hosts that tests serve: `pytest --stores memory|sqlite|postgres|foundry` runs one suite on each.

With `--replicas N`, which needs PostgreSQL, `tests.serving` puts a proxy in front of as many hosts.

Processes that tests start import modules of this package: it loads a backend when it is opened.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from hostedagent.platform import CALL_ID_HEADER, USER_ID_HEADER, USER_ISOLATION_HEADER
from hostedagent.stores.factory import Stores, foundry_stores, memory_stores, postgres_stores, sqlite_stores

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

StoreKind: TypeAlias = Literal["memory", "sqlite", "postgres", "foundry"]
KINDS: Final[tuple[StoreKind, ...]] = ("memory", "sqlite", "postgres", "foundry")


@dataclass(slots=True)
class Chosen:
    """What the run was started with.

    Args:
        kind: The kind of the stores.
        replicas: How many hosts answer in turn, on the same stores.
    """

    kind: StoreKind = "memory"
    replicas: int = 1


CHOSEN: Final = Chosen()


@asynccontextmanager
async def opened(kind: StoreKind | None = None) -> AsyncGenerator[tuple[Stores, Callable[[Any], ASGIApp]]]:
    """Stores of a kind, and what gives an app's callers the identity that these stores need."""
    async with opening(kind) as (connect, identified):
        yield connect(), identified


@asynccontextmanager
async def opening(
    kind: StoreKind | None = None,
) -> AsyncGenerator[tuple[Callable[[], Stores], Callable[[Any], ASGIApp]]]:
    """A way to open the same stores once for each process, and what identifies an app's callers to them."""
    async with AsyncExitStack() as stack:
        match kind or CHOSEN.kind:
            case "memory":
                stores = memory_stores()
                yield lambda: stores, lambda app: app
            case "sqlite":
                path = Path(stack.enter_context(TemporaryDirectory(prefix="hostedagent-test-"))) / "state.db"
                yield lambda: sqlite_stores(path), lambda app: app
            case "postgres":
                from tests.postgres.server import postgres_dsn, schema

                name = stack.enter_context(schema())
                yield lambda: postgres_stores(postgres_dsn(), schema=name), lambda app: app
            case "foundry":
                from hostedagent.emulator import Emulator

                emulator = await stack.enter_async_context(Emulator(anonymous="refuse"))
                emulator.trust()
                yield lambda: foundry_stores(endpoint=emulator.endpoint, credential=emulator.credential), Identified


class Identified:
    """Gives each request a fresh call id, as the platform does, and a user where it names none."""

    def __init__(self, app: ASGIApp, *, user: str = "test-user") -> None:
        self._app = app
        self._user = user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            headers = cast("list[tuple[bytes, bytes]]", scope["headers"])
            given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
            scope = {**scope, "headers": [*headers, *self._missing(given)]}
        await self._app(scope, receive, send)

    def _missing(self, given: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
        user = given.get(USER_ID_HEADER) or given.get(USER_ISOLATION_HEADER)
        if user is None:
            user = self._user
            yield USER_ID_HEADER.encode(), user.encode()
        if CALL_ID_HEADER not in given:
            from hostedagent.emulator import call_id_for

            yield CALL_ID_HEADER.encode(), call_id_for(user).encode()
