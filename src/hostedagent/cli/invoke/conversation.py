"""A conversation with an agent: sends messages, answers requests, and knows where the next turn continues."""

from __future__ import annotations

import asyncio
import base64
import json
import mimetypes
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Self, cast

import aiohttp
from filelock import FileLock

from hostedagent.cli.group import CommandError, CommandLineError
from hostedagent.cli.invoke.answers import Asker, call, described, waiting
from hostedagent.cli.invoke.endpoint import Endpoint, authorization
from hostedagent.cli.invoke.header import Header, joined
from hostedagent.cli.invoke.printing import Printer
from hostedagent.cli.progress import progress
from hostedagent.platform import SESSION_ID_HEADER
from hostedagent.protocol.sse import FrameReader
from hostedagent.protocol.statuses import COUNTED, END_EVENTS
from hostedagent.protocol.types import Event, Item

WAITS: Final = 3
"""The exit code when the agent waits for an answer."""

_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=30)
_PAUSE: Final = 0.2
"""Seconds between two attempts to reach a server that is starting."""


class RefusedError(CommandError):
    """The agent refused the request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Conversation:
    """Sends messages to an agent and answers its requests. Use it in a `with` block.

    HTTP requests run on an event loop of its own and prompts between them, so that Ctrl+C at a prompt acts at once.

    Args:
        conversation_id: The conversation; without it, turns are a chain of responses.
        wait: Seconds to wait for a server that does not listen yet.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        printer: Printer,
        asker: Asker,
        *,
        conversation_id: str | None = None,
        headers: Sequence[Header] = (),
        wait: float = 0.0,
    ) -> None:
        self._endpoint = endpoint
        self._printer = printer
        self._asker = asker
        self._conversation_id = conversation_id
        self._headers = headers
        self._wait = wait
        self._session: str | None = None
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._http: aiohttp.ClientSession | None = None
        self.previous: str | None = None
        """The response that the next turn continues."""
        self.exit_code = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._runner.run(self._stack.aclose())
        finally:
            self._runner.close()

    def resume(self) -> None:
        """Continue where the last turn with this endpoint ended."""
        last = _read_last().get(self._endpoint.url)
        if last is None:
            raise CommandLineError(f"There is nothing to continue: {self._endpoint.url} was not asked before.")
        self.previous, self._session = last["response_id"], last.get("session_id")
        self._conversation_id = last.get("conversation_id")

    def say(self, items: Sequence[Item]) -> Mapping[str, Any]:
        """Send items, then the answers to the agent's requests, and return the last response."""
        self.exit_code = 0
        response = self._run(items)
        while True:
            self._printer.end(response)
            self._remember(response)
            asked = waiting(response) if response["status"] in COUNTED else []
            answered = self._answer(asked) if asked else None
            if answered is None:
                self._conclude(response, asked)
                return response
            response = answered

    def _answer(self, asked: Sequence[Item]) -> Mapping[str, Any] | None:
        """The turn that answers the requests; `None` without an answer. A person may correct a refused answer."""
        while (answers := self._asker.answers(asked)) is not None:
            refused = {item.get("approval_request_id") for item in answers if item.get("approve") is False}
            self._printer.rejected |= {call(item) for item in asked if item.get("id") in refused}
            try:
                return self._run(answers)
            except RefusedError as error:
                if not self._asker.can_try_again or error.status != 400:
                    raise
                _tell(str(error))
        return None

    def _run(self, items: Sequence[Item]) -> Mapping[str, Any]:
        if self._printer.streams:
            return self._runner.run(self._turn(items))
        with progress("Waiting for the answer"):
            return self._runner.run(self._turn(items))

    async def _turn(self, items: Sequence[Item]) -> Mapping[str, Any]:
        body: dict[str, Any] = {"input": list(items), "stream": self._printer.streams}
        if self._conversation_id is not None:
            body["conversation"] = self._conversation_id
        elif self.previous is not None:
            body["previous_response_id"] = self.previous
        if self._session is not None:
            body["agent_session_id"] = self._session
        deadline, is_told = time.monotonic() + self._wait, False
        while True:
            try:
                return await self._posted(body)
            except aiohttp.ClientConnectorError as error:
                if not _is_refused(error) or time.monotonic() >= deadline:
                    raise CommandError(_unreachable(self._endpoint, error)) from error
                if not is_told:
                    _tell(f"Waiting for {self._endpoint.url} ...")
                    is_told = True
                await asyncio.sleep(_PAUSE)
            except aiohttp.ClientError as error:
                raise CommandError(f"The connection to {self._endpoint.url} broke: {error}") from error

    async def _posted(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        http = self._http or await self._open()
        self._printer.begin()
        async with http.post(self._endpoint.url, json=body) as reply:
            if reply.status != 200:
                raise RefusedError(reply.status, _refusal(reply.status, await reply.read()))
            if self._endpoint.is_deployed:  # The next turn uses the same sandbox.
                self._session = reply.headers.get(SESSION_ID_HEADER) or self._session
            return await self._streamed(reply) if self._printer.streams else await reply.json()

    async def _open(self) -> aiohttp.ClientSession:
        own = await self._stack.enter_async_context(authorization(self._endpoint))
        session = aiohttp.ClientSession(headers=joined(own, self._headers), timeout=_NO_TIMEOUT)
        self._http = await self._stack.enter_async_context(session)
        return self._http

    async def _streamed(self, reply: aiohttp.ClientResponse) -> Mapping[str, Any]:
        frames = FrameReader()
        try:
            async for chunk in reply.content.iter_any():
                for frame in frames.feed(chunk):
                    event = cast("Event", json.loads(frame.data)) if frame.data else None
                    if event is None:
                        continue
                    self._printer.event(event)
                    if event["type"] in END_EVENTS:
                        return event["response"]
                    if event["type"] == "error":
                        raise CommandError(f"The agent failed: {event.get('code')}: {event.get('message')}")
        finally:  # Also if it was stopped: what follows must not be printed into the middle of a text.
            self._printer.close()
        raise CommandError("The stream ended before the response did.")

    def _conclude(self, response: Mapping[str, Any], asked: Sequence[Item]) -> None:
        """Print on standard error how the last response ended, if its text does not show it."""
        error: Mapping[str, Any] = response.get("error") or {}
        if response["status"] == "failed":
            self.exit_code = 1
            _tell(f"The response failed: {error.get('code')}: {error.get('message')}")
        elif asked:
            self.exit_code = WAITS
            for item in asked:
                _tell(described(item))
        elif response["status"] == "incomplete":
            details: Mapping[str, Any] = response.get("incomplete_details") or {}
            _tell(f"The response is incomplete: {details.get('reason')}")
        elif response["status"] != "completed":
            self.exit_code = 1
            _tell(f"The response is {response['status']}.")

    def _remember(self, response: Mapping[str, Any]) -> None:
        self.previous = response["id"]
        last = {"response_id": response["id"], "session_id": self._session, "conversation_id": self._conversation_id}
        path = _last_path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # Another command may write concurrently.
            path.write_text(json.dumps({**_read_last(), self._endpoint.url: last}))


def _is_refused(error: aiohttp.ClientConnectorError) -> bool:
    kinds = (aiohttp.ClientConnectorDNSError, aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)
    return not isinstance(error, kinds)


def _unreachable(endpoint: Endpoint, error: aiohttp.ClientConnectorError) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"There is no host {error.host!r}: its name cannot be resolved. Check the address {endpoint.url}."
        case aiohttp.ClientConnectorCertificateError():
            return f"The certificate of {error.host} is not trusted: {error.certificate_error}. Set SSL_CERT_FILE."
        case aiohttp.ClientConnectorSSLError():
            return f"There is no TLS connection to {endpoint.url}: the server may speak http:// only."
        case _:
            hint = "" if endpoint.is_deployed else " Start it with: hostedagent run FILE"
            return f"Nothing answers at {endpoint.url}.{hint}"


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


def message(text: str, files: Sequence[str]) -> list[Item]:
    """One user message."""
    if not text.strip() and not files:
        raise CommandLineError('There is nothing to say: hostedagent invoke "text".')
    texts = [{"type": "input_text", "text": text}] if text.strip() else []
    return [{"type": "message", "role": "user", "content": [*texts, *(_part(Path(name)) for name in files)]}]


def _part(path: Path) -> Item:
    try:
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise CommandLineError(f"{path} cannot be read: {error.strerror}.") from error
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    url = f"data:{kind};base64,{data}"
    if kind.startswith("image/"):
        return {"type": "input_image", "image_url": url, "detail": "auto"}
    return {"type": "input_file", "filename": path.name, "file_data": url}
