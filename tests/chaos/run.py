"""Chaos: conversations through a proxy, while replicas, their network and their database break."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from shutil import which

from tests.chaos.fleet import Fleet, Replica, fleet
from tests.chaos.talk import PATIENCE, Findings, Talk

MOST_BLOCKED = 2.0
"""Seconds that a conversation may be refused as busy after a replica has died."""


WAYS = ("killed", "stopped", "drained", "cut", "restarted")
"""What is done to a replica, or to the database."""


@dataclass(slots=True)
class Report:
    """What happened.

    Attributes:
        findings: What the clients found.
        broken: How often each thing was broken.
        doubled: Payments that two turns made, under keys of their own.
        repeated: How often a payment was asked for again under its key, because nobody knew whether it had been made.
        missing: Payments of completed turns that were never made.
        seconds: How long it took.
        lease: How long a conversation may stay with a replica that is stopped, in seconds.
    """

    findings: Findings
    broken: Counter[str] = field(default_factory=Counter[str])
    doubled: list[str] = field(default_factory=list[str])
    repeated: int = 0
    missing: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    lease: float = 0.0

    @property
    def wrong(self) -> list[str]:
        """Everything that must not have happened, however slow the machine is."""
        found = [*self.findings.wrong]
        found += [f"{token} was paid twice" for token in self.doubled]
        return found + [f"{token} was never paid" for token in self.missing]

    @property
    def slow(self) -> list[str]:
        """What took too long, on a machine with room for it."""
        # A replica that is stopped may be alive: its conversations are free when its lease has expired.
        most = MOST_BLOCKED + (self.lease if self.broken["stopped"] else 0)
        return [
            f"a request was blocked by {what} for {seconds:.1f} s"
            for seconds, what in self.findings.blocked
            if seconds > most
        ]

    def lines(self) -> list[str]:
        """The rows of a table."""
        findings = self.findings
        blocked = max((seconds for seconds, _ in findings.blocked), default=0.0)
        rows = {
            "broken": ", ".join(f"{name} {count}" for name, count in sorted(self.broken.items())),
            "turns": f"{sum(findings.ended.values())}: "
            + ", ".join(f"{count} {name}" for name, count in sorted(findings.ended.items())),
            "payments": f"{len(findings.paid)} by turns that are complete, {len(self.doubled)} doubled, "
            f"{self.repeated} repeated under their key, {len(self.missing)} missing",
            "longest that a conversation was busy": f"{blocked:.1f} s",
            "requests sent again": ", ".join(f"{why} {count}" for why, count in findings.retries.most_common()) or "0",
            "mistakes": str(len(self.wrong)),
            "too slow": str(len(self.slow)),
            "seconds": f"{self.seconds:.0f}",
        }
        return [f"| {name} | {value} |" for name, value in rows.items()]


def missing() -> str | None:
    """What this machine lacks, in one line."""
    if which("nginx") is None:
        return "chaos needs nginx: apt-get install nginx-light"
    return None


async def run(
    *,
    conversations: int,
    seconds: float | None = None,
    turns: int = 1_000,
    replicas: int = 3,
    lease: float = 4.0,
    seed: int = 1,
    only: Sequence[str] = (),
) -> Report:
    """Talk and break until the time is over or every conversation has had its turns.

    Args:
        conversations: How many, each of a user of its own.
        seconds: After how long no further turn begins; by default when each thing was broken once.
        turns: How many turns each has at most.
        replicas: How many replicas.
        lease: How long leases stand, in seconds.
        seed: Decides what is done when.
        only: The ways to break something, of `WAYS`; by default all.
    """
    chance, findings = random.Random(seed), Findings()
    report = Report(findings, lease=lease)
    async with fleet(replicas, lease=lease) as made:
        began = time.monotonic()
        talks = [
            Talk(made.url, number, findings, random.Random(seed + number), PATIENCE + conversations)
            for number in range(conversations)
        ]
        breaking = asyncio.create_task(break_all(made, report, chance, only or WAYS, once=seconds is None))

        def goes_on() -> bool:
            return not breaking.done() and (seconds is None or time.monotonic() < began + seconds)

        try:
            await asyncio.gather(*(talk.run(turns, goes_on) for talk in talks))
        finally:
            breaking.cancel()
            await asyncio.wait((breaking,))
        if not breaking.cancelled():
            breaking.result()  # It could not break something.
        await asyncio.gather(*(_restored(replica) for replica in made.replicas))
        await asyncio.gather(*(talk.check_again() for talk in talks))
        report.seconds = time.monotonic() - began
        payments = {path.name: len(path.read_text().splitlines()) for path in made.effects.iterdir()}
    paid = Counter(name.split()[0] for name in payments)
    report.repeated = sum(payments.values()) - len(payments)
    report.doubled = [token for token, count in paid.items() if count > 1]
    report.missing = [token for token in findings.paid if token not in paid]
    return report


async def break_all(made: Fleet, report: Report, chance: random.Random, only: Sequence[str], *, once: bool) -> None:
    """Break one thing after the other, each time another replica; all of them once, or until it is cancelled.

    What has begun is finished first: a process whose start is cancelled halfway is never seen to end, and one that is
    just ending would be taken for one that runs.
    """

    async def killed(replica: Replica) -> None:
        await replica.end(signal.SIGKILL)
        await replica.start()

    async def stopped(replica: Replica) -> None:
        replica.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(replica.lease * 1.5)
        finally:
            replica.send(signal.SIGCONT)

    async def drained(replica: Replica) -> None:
        await replica.end(signal.SIGTERM)
        await replica.start()

    async def cut(replica: Replica) -> None:
        replica.relay.cut()
        try:
            await asyncio.sleep(chance.uniform(0.5, 5))
        finally:
            replica.relay.mend()

    async def restarted(replica: Replica) -> None:
        await asyncio.to_thread(made.database.restart)

    every: tuple[Callable[[Replica], Awaitable[None]], ...] = (killed, stopped, drained, cut, restarted)
    ways = [way for way in every if way.__name__ in only]
    while True:
        chance.shuffle(ways)
        for way in ways:
            await asyncio.sleep(chance.uniform(0.5, 2))
            report.broken[way.__name__] += 1
            work = asyncio.ensure_future(way(chance.choice(made.replicas)))
            try:
                await asyncio.shield(work)
            finally:
                await work
        if once:
            return


async def _restored(replica: Replica) -> None:
    replica.send(signal.SIGCONT)
    replica.relay.mend()
    if replica.process is None or replica.process.returncode is not None:
        await replica.start()
