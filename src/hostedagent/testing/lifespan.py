"""The ASGI lifespan of an app under test: one task that owns it from startup to shutdown."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from .exchange import ASGIApp

Phase = Literal["startup", "shutdown"]


class Lifespan:
    """Starts and stops an app. An app that raises on the lifespan scope is one that has none (ASGI specification)."""

    def __init__(self, app: ASGIApp, *, patience: float) -> None:
        self._app = app
        self._patience = patience
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._outcome: dict[str, asyncio.Future[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}

    async def startup(self) -> None:
        """Run the startup.

        Raises:
            RuntimeError: the app reported a failure.
            TimeoutError: the app did not answer.
        """
        self._task = asyncio.create_task(self._run(), name="lifespan")
        await self._ask("startup")

    async def shutdown(self) -> None:
        """Run the shutdown, if the app has a lifespan."""
        if self._task is None:
            return
        try:
            if not self._task.done():
                await self._ask("shutdown")
        finally:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _ask(self, phase: Phase) -> None:
        assert self._task is not None
        outcome = self._outcome[phase] = asyncio.get_running_loop().create_future()
        await self._inbox.put({"type": f"lifespan.{phase}"})
        done, _ = await asyncio.wait((outcome, self._task), timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            self._task.cancel()
            raise TimeoutError(f"the app did not finish its {phase} in {self._patience:g} s")
        if outcome.done():
            outcome.result()
        elif phase == "shutdown" and not self._task.cancelled() and (error := self._task.exception()):
            raise RuntimeError("the app raised in its shutdown") from error

    async def _run(self) -> None:
        scope: dict[str, Any] = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        await self._app(scope, self._inbox.get, self._send)

    async def _send(self, message: Any) -> None:
        _, phase, verdict = str(message["type"]).split(".")
        outcome = self._outcome.get(phase)
        if outcome is None or outcome.done():
            return
        if verdict == "complete":
            outcome.set_result(None)
        else:
            outcome.set_exception(RuntimeError(f"the app's {phase} failed: {message.get('message', '')}"))
