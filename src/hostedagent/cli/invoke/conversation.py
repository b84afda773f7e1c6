"""The turns of one `invoke`: what is said, what is asked back, and where the next one goes on."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
from filelock import FileLock

from hostedagent.cli.invoke.answers import Asker, described, waiting
from hostedagent.cli.invoke.endpoint import Endpoint, InvokeError, authorization
from hostedagent.cli.invoke.header import Header, joined
from hostedagent.cli.invoke.printing import Printer
from hostedagent.platform import SESSION_ID_HEADER
from hostedagent.protocol.sse import FrameReader
from hostedagent.protocol.types import Event, Item

WAITS: Final = 3
"""The exit code when the agent waits for an answer."""

_TERMINAL: Final = ("response.completed", "response.incomplete", "response.failed")
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=30)


class RefusedError(InvokeError):
    """The agent refused what was said."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Conversation:
    """Says something to an agent, and answers what it asks.

    Args:
        endpoint: Where the agent is.
        printer: Shows what comes.
        asker: Answers what is asked.
        conversation_id: The conversation; without it, turns are a chain of responses.
        headers: What else is sent with each request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        printer: Printer,
        asker: Asker,
        *,
        conversation_id: str | None = None,
        headers: Sequence[Header] = (),
    ) -> None:
        self._endpoint = endpoint
        self._printer = printer
        self._asker = asker
        self._conversation_id = conversation_id
        self._headers = headers
        self._previous: str | None = None
        self._session: str | None = None
        self.exit_code = 0

    def go_on(self) -> None:
        """Go on where the last `invoke` of this endpoint ended.

        Raises:
            InvokeError: There was none.
        """
        last = _read_last().get(self._endpoint.url)
        if last is None:
            raise InvokeError(f"There is nothing to continue: nothing was said to {self._endpoint.url} before.", code=2)
        self._previous, self._session = last["response_id"], last.get("session_id")
        self._conversation_id = last.get("conversation_id")

    async def say(self, said: Sequence[Item]) -> Mapping[str, Any]:
        """Say it, and whatever must be answered after it; returns the last response.

        Raises:
            InvokeError: The agent could not be reached, or refused.
        """
        async with (
            authorization(self._endpoint) as own,
            aiohttp.ClientSession(headers=joined(own, self._headers), timeout=_NO_TIMEOUT) as http,
        ):
            response = await self._turn(http, said)
            while True:
                self._printer.end(response)
                self._remember(response)
                items = waiting(response) if response["status"] in ("completed", "incomplete") else []
                answered = await self._answer(http, items) if items else None
                if answered is None:
                    self._conclude(response, items)
                    return response
                response = answered

    async def _answer(self, http: aiohttp.ClientSession, items: Sequence[Item]) -> Mapping[str, Any] | None:
        """The turn that answers what was asked; `None` when nobody can. Who types may try again."""
        while (answers := self._asker.answers(items)) is not None:
            try:
                return await self._turn(http, answers)
            except RefusedError as error:
                if not self._asker.can_try_again or error.status != 400:
                    raise
                _tell(str(error))
        return None

    async def _turn(self, http: aiohttp.ClientSession, said: Sequence[Item]) -> Mapping[str, Any]:
        body: dict[str, Any] = {"input": list(said), "stream": self._printer.streams}
        if self._conversation_id is not None:
            body["conversation"] = self._conversation_id
        elif self._previous is not None:
            body["previous_response_id"] = self._previous
        if self._session is not None:
            body["agent_session_id"] = self._session
        try:
            async with http.post(self._endpoint.url, json=body) as reply:
                if reply.status != 200:
                    raise RefusedError(reply.status, _refusal(reply.status, await reply.read()))
                if self._endpoint.is_deployed:  # The next turn finds the same sandbox.
                    self._session = reply.headers.get(SESSION_ID_HEADER) or self._session
                return await self._streamed(reply) if self._printer.streams else await reply.json()
        except aiohttp.ClientConnectorError as error:
            hint = "" if self._endpoint.is_deployed else " Start it with: hostedagent run FILE"
            raise InvokeError(f"Nothing answers at {self._endpoint.url}.{hint}") from error
        except aiohttp.ClientError as error:
            raise InvokeError(f"The connection to {self._endpoint.url} broke: {error}") from error

    async def _streamed(self, reply: aiohttp.ClientResponse) -> Mapping[str, Any]:
        frames = FrameReader()
        async for chunk in reply.content.iter_any():
            for frame in frames.feed(chunk):
                event = cast("Event", json.loads(frame.data)) if frame.data else None
                if event is None:
                    continue
                self._printer.event(event)
                if event["type"] in _TERMINAL:
                    return event["response"]
                if event["type"] == "error":
                    raise InvokeError(f"The agent failed: {event.get('code')}: {event.get('message')}")
        raise InvokeError("The stream ended before the response did.")

    def _conclude(self, response: Mapping[str, Any], items: Sequence[Item]) -> None:
        """Say on stderr how the last response ended, where its text does not."""
        error: Mapping[str, Any] = response.get("error") or {}
        if response["status"] == "failed":
            self.exit_code = 1
            _tell(f"The response failed: {error.get('code')}: {error.get('message')}")
        elif items:
            self.exit_code = WAITS
            for item in items:
                _tell(described(item))
        elif response["status"] == "incomplete":
            details: Mapping[str, Any] = response.get("incomplete_details") or {}
            _tell(f"The response is incomplete: {details.get('reason')}")
        elif response["status"] != "completed":
            self.exit_code = 1
            _tell(f"The response is {response['status']}.")

    def _remember(self, response: Mapping[str, Any]) -> None:
        self._previous = response["id"]
        last = {"response_id": response["id"], "session_id": self._session, "conversation_id": self._conversation_id}
        path = _last_path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # Another invoke may write at the same time.
            path.write_text(json.dumps({**_read_last(), self._endpoint.url: last}))


def _refusal(status: int, body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return f"The agent refused with {status}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        return f"The agent refused with {status}: {body[:300].decode(errors='replace')}"


def _last_path() -> Path:
    return Path.home() / ".hostedagent" / "invoke.json"


def _read_last() -> dict[str, dict[str, Any]]:
    try:
        return json.loads(_last_path().read_text())
    except (OSError, ValueError):
        return {}


def _tell(line: str) -> None:
    print(f"hostedagent: {line}", file=sys.stderr)
