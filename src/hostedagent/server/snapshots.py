"""The routes with which the platform announces the capture of the process, and the restore of a copy.

They are those of newer versions of the SDK's host, for drivers without it:
https://pypi.org/project/azure-ai-agentserver-core, "Memory snapshot lifecycle handlers". They have no authentication
and set environment variables, so a host serves them only with `allow_snapshots`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from hostedagent.engine.hooks import RestoredSession
from hostedagent.engine.snapshots import SnapshotError, Snapshots
from hostedagent.errors import Conflict, InvalidRequest, RequestError, Unavailable
from hostedagent.platform import SESSION_VARIABLE
from hostedagent.protocol.json import decode
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import is_object

BEFORE: Final = ("/_agent/before-snapshot", "/_before_snapshot")
AFTER: Final = ("/_agent/after-restore", "/_after_restore")

_DONE: Final = {"status": "ok"}
_MAX_BODY: Final = 1024 * 1024


class SnapshotRoutes:
    """The routes of one process."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._lock = asyncio.Lock()
        self._is_prepared = False
        self._session_id: str | None = None
        self._restored: set[str] = set()
        self._captured: dict[str, str | None] = {}

    def routes(self) -> list[Route]:
        """The routes; each has two paths."""
        return [
            *(Route(path, self._before, methods=["POST"], include_in_schema=False) for path in BEFORE),
            *(Route(path, self._after, methods=["POST"], include_in_schema=False) for path in AFTER),
        ]

    async def _before(self, request: Request) -> JSONResponse:
        try:
            await _body(request)
            async with self._lock:
                if not self._is_prepared:
                    await self._snapshots.before()
                    self._captured = {name: os.environ.get(name) for name in self._captured}
                    self._is_prepared = True
        except (RequestError, SnapshotError) as error:
            return _refusal(error)
        return JSONResponse(_DONE)

    async def _after(self, request: Request) -> JSONResponse:
        try:
            session = _session(await _body(request))
            async with self._lock:
                if self._session_id not in (None, session.session_id):
                    raise Conflict("The restored process serves another session already.")
                if session.restore_id not in self._restored:
                    await self._restore(session)
        except (RequestError, SnapshotError) as error:
            return _refusal(error)
        return JSONResponse(_DONE)

    async def _restore(self, session: RestoredSession) -> None:
        variables = {SESSION_VARIABLE: session.session_id, **session.environment}
        captured = {name: os.environ.get(name) for name in variables} | self._captured
        before = {name: os.environ.get(name) for name in captured}
        _set(captured | variables)
        try:
            await self._snapshots.after(session)
        except BaseException:
            _set(before)
            raise
        self._captured, self._session_id, self._is_prepared = captured, session.session_id, False
        self._restored.add(session.restore_id)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


async def _body(request: Request) -> dict[str, Json]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MAX_BODY:
            raise InvalidRequest("The body is too large.")
    try:
        found: Json = decode(bytes(data))
    except (ValueError, RecursionError):
        found = None
    if kind != "application/json" or not is_object(found):
        raise InvalidRequest("The body is a JSON object, of the type application/json.")
    return found


def _session(body: dict[str, Json]) -> RestoredSession:
    found = body.get("session_context")
    fields = found if is_object(found) else dict[str, Json]()
    session, restore, given = (fields.get(name) for name in ("session_id", "restore_id", "session_env_overrides"))
    variables = given if is_object(given) else {} if given is None else None
    if not (isinstance(session, str) and session and isinstance(restore, str) and restore) or variables is None:
        raise InvalidRequest("session_context needs session_id, restore_id and, where some differ, variables.")
    texts = [text for pair in (*variables.items(), (SESSION_VARIABLE, session)) for text in pair]
    is_text = all(isinstance(text, str) and "\0" not in text for text in texts)
    if not is_text or any(not name or "=" in name for name in variables):
        raise InvalidRequest("session_env_overrides has names and values of environment variables.")
    if variables.get(SESSION_VARIABLE, session) != session:
        raise InvalidRequest(f"{SESSION_VARIABLE} is another session than session_id.")
    return RestoredSession(session, restore, {name: str(value) for name, value in variables.items()})


def _refusal(error: RequestError | SnapshotError) -> JSONResponse:
    told = error if isinstance(error, RequestError) else Unavailable(str(error))
    return JSONResponse(told.body(), told.status)
