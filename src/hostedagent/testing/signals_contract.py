# ruff: noqa: D102 (the names of the tests are their sentences)
"""The contract of `Signals` and `Liveness` as a test suite: subclass it, provide your signals, and run pytest.

Override the fixture `signals`; `other`, what a second process over the same store would have, and `end_other`, which
ends that process without a word. The tests that need them are skipped otherwise. This needs pytest-asyncio in auto
mode.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias, cast

import pytest

from hostedagent.identity import Scope
from hostedagent.stores.base import Signal, Signals

EndOther: TypeAlias = Callable[[], Awaitable[None]]

SECONDS: Final = 120.0
"""Seconds that a test waits for an expected signal."""

_SCOPE: Final = Scope("user:ada").key("tests")
_PROBE: Final = Signal("ended", _SCOPE, "probe")


class Listener:
    """Receives signals in its own task."""

    def __init__(self, signals: Signals) -> None:
        self.seen: list[Signal] = []
        self._grown = asyncio.Event()
        self._signals = cast("AsyncGenerator[Signal]", signals.receive())
        self._task = asyncio.ensure_future(self._collect())

    async def _collect(self) -> None:
        async for signal in self._signals:
            self.seen.append(signal)
            self._grown.set()

    async def ready(self, *senders: Signals) -> None:
        """Wait until it receives what each of these sends."""
        async with asyncio.timeout(SECONDS):
            for sender in senders:
                before = len(self.seen)
                while len(self.seen) == before:
                    await sender.publish(_PROBE)
                    with suppress(TimeoutError):
                        await self._next(0.05)

    async def received(self, many: int) -> list[Signal]:
        """The first signals that are no probes."""
        async with asyncio.timeout(SECONDS):
            while len(found := [signal for signal in self.seen if signal != _PROBE]) < many:
                await self._next(SECONDS)
        return found

    async def close(self) -> None:
        """Stop receiving."""
        self._task.cancel()
        await asyncio.wait((self._task,))
        await self._signals.aclose()

    async def _next(self, seconds: float) -> None:
        self._grown.clear()
        async with asyncio.timeout(seconds):
            await self._grown.wait()


class SignalsContract:
    """The guarantees of every `Signals`. Subclass it with a fixture `signals`; see the module."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def signals(self) -> Signals:
        """The signals under test."""
        raise NotImplementedError("Override the fixture `signals`.")

    @pytest.fixture
    def other(self) -> Signals | None:
        """The `Signals` of a second process over the same store; `None` skips the tests that need it."""
        return None

    @pytest.fixture
    def end_other(self) -> EndOther | None:
        """Ends the second process as a crash does; `None` skips what needs it."""
        return None

    # --- delivery

    async def test_a_listener_receives_signals_in_order_as_they_were_published(self, signals: Signals) -> None:
        listener = Listener(signals)
        await listener.ready(signals)
        sent = [
            Signal("cancel", _SCOPE, "caresp_1"),
            Signal("steer", _SCOPE, "caresp_1", '{"text": "Grüße 👩‍👩‍👧\u2028"}'),
            Signal("steer", _SCOPE, "caresp_2", "x" * 4_000),
            Signal("ended", _SCOPE, "a conversation, by 'name' \\ \u00fc"),
            Signal("steer", _SCOPE, "caresp_3", "ü" * 2_000),
            Signal("cancel", _SCOPE, "c" * 2_000),
        ]
        for signal in sent:
            await signals.publish(signal)
        assert await listener.received(len(sent)) == sent
        await listener.close()

    async def test_every_listener_receives_every_signal(self, signals: Signals) -> None:
        listeners = [Listener(signals) for _ in range(3)]
        for listener in listeners:
            await listener.ready(signals)
        sent = [Signal("cancel", _SCOPE, f"caresp_{n}") for n in range(10)]
        for signal in sent:
            await signals.publish(signal)
        for listener in listeners:
            assert await listener.received(10) == sent
            await listener.close()

    async def test_publishing_without_a_listener_does_nothing(self, signals: Signals) -> None:
        await signals.publish(Signal("cancel", _SCOPE, "early"))
        listener = Listener(signals)
        await listener.ready(signals)
        await signals.publish(Signal("cancel", _SCOPE, "late"))
        assert (await listener.received(1))[-1].subject == "late"
        await listener.close()

    async def test_a_listener_that_does_not_read_delays_nobody(self, signals: Signals) -> None:
        listener = Listener(signals)
        await listener.ready(signals)
        idle = cast("AsyncGenerator[Signal]", signals.receive())
        first = asyncio.ensure_future(anext(idle))
        async with asyncio.timeout(SECONDS):
            while not first.done():
                await signals.publish(_PROBE)
                await asyncio.wait((first,), timeout=0.05)
            for number in range(300):
                await signals.publish(Signal("cancel", _SCOPE, f"caresp_{number}"))
        assert [signal.subject for signal in await listener.received(300)] == [f"caresp_{n}" for n in range(300)]
        await listener.close()
        await idle.aclose()

    async def test_a_second_process_receives_and_sends(self, signals: Signals, other: Signals | None) -> None:
        if other is None:
            pytest.skip("no second process")
        here, there = Listener(signals), Listener(other)
        await here.ready(signals, other)
        await there.ready(signals, other)
        await signals.publish(Signal("cancel", _SCOPE, "from here"))
        await there.received(1)
        await other.publish(Signal("steer", _SCOPE, "from there", "words"))
        sent = [Signal("cancel", _SCOPE, "from here"), Signal("steer", _SCOPE, "from there", "words")]
        assert await here.received(2) == await there.received(2) == sent
        await here.close()
        await there.close()

    # --- liveness

    async def test_a_process_keeps_its_name_and_knows_that_it_lives(self, signals: Signals) -> None:
        name = await signals.name()
        assert await signals.name() == name
        assert not await signals.is_dead(name)

    async def test_a_process_without_a_name_is_never_known_to_be_dead(self, signals: Signals) -> None:
        assert not await signals.is_dead("")

    async def test_a_second_process_has_another_name_and_is_dead_once_it_ended(
        self, signals: Signals, other: Signals | None, end_other: EndOther | None
    ) -> None:
        if other is None or end_other is None:
            pytest.skip("no second process that can be ended")
        mine, theirs = await signals.name(), await other.name()
        assert mine and theirs and mine != theirs
        assert [await signals.is_dead(theirs), await other.is_dead(mine)] == [False, False]
        await end_other()
        async with asyncio.timeout(SECONDS):
            while not await signals.is_dead(theirs):  # noqa: ASYNC110 - there is no event for a death
                await asyncio.sleep(0.01)
        assert await signals.is_dead(theirs)
        assert not await signals.is_dead(mine)
