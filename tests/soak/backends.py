"""The backends of a soak: what the process that serves is told of its store, and what its callers have to send."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

from hostedagent.emulator import Emulator, call_id_for
from hostedagent.host import Driver
from hostedagent.platform import CALL_ID_HEADER, USER_ID_HEADER
from tests.postgres.server import postgres_dsn, schema
from tests.stores import KINDS, StoreKind

if TYPE_CHECKING:
    import httpx

USER: Final = "ann"
DRIVERS: Final[tuple[Driver, ...]] = get_args(Driver)


class Subject(NamedTuple):
    """What is loaded.

    Args:
        store: Its store.
        driver: Its driver.
    """

    store: StoreKind
    driver: Driver

    def __str__(self) -> str:
        return f"{self.store}, {self.driver}"


SUBJECTS: Final = [Subject(store, driver) for store in KINDS for driver in DRIVERS]


@dataclass(frozen=True, slots=True)
class Backend:
    """What a process needs to use a store.

    Args:
        arguments: For its command line, after the driver.
        environment: Variables.
        is_hosted: Whether its callers are those of the platform.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    is_hosted: bool = False

    async def identify(self, request: httpx.Request) -> None:
        """Give a request what the platform gives it."""
        if self.is_hosted:
            request.headers[USER_ID_HEADER] = USER
            request.headers[CALL_ID_HEADER] = call_id_for(USER)


@asynccontextmanager
async def backend(kind: StoreKind, folder: Path) -> AsyncGenerator[Backend]:
    """A store of a kind, empty; an emulator runs on this loop."""
    match kind:
        case "memory":
            yield Backend((kind,))
        case "sqlite":
            yield Backend((kind, str(folder / "state.db")))
        case "postgres":
            with schema() as name:
                yield Backend((kind, postgres_dsn(), name))
        case "foundry":
            async with Emulator(anonymous="refuse") as emulator:
                yield Backend((kind,), emulator.environment, is_hosted=True)
