"""The web application: logs, authenticates and serves each request, or applies an armed fault to it.

It uses aiohttp because a fault must be able to drop the connection of a request, and because response ids may contain a
percent-encoded slash; ASGI hides both.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never

from aiohttp import web

from hostedagent.platform import CALL_ID_HEADER, DELEGATED_USER_HEADER

from .credential import LIFETIME_SECONDS, TOKEN
from .faults import LEAKED_SECRETS, Fault, Faults
from .refusal import Refusal, bad_request, not_found
from .request_log import RequestLog
from .routes import ROUTES, Call, Route, Storage

PROJECT_PATH = "/api/projects/p"
IDENTITY_PATH = "/identity/token"
API_VERSION = "v1"
IDENTITY_HEADER = "X-IDENTITY-HEADER"
MAX_BODY_BYTES = 256 * 1024 * 1024

Anonymous: TypeAlias = Literal["allow", "refuse"]
_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The storage API over HTTP.

    Attributes:
        resolve_user: Returns the user of a call id.
        anonymous: Whether a request without a user is served, in a partition of its own, or answered with 401.
        latency: Minimum seconds that every request takes.
        identity_secret: The secret that a process sends to get a managed identity token.
    """

    storage: Storage
    faults: Faults
    log: RequestLog
    resolve_user: Callable[[str], str | None]
    anonymous: Anonymous
    latency: float
    identity_secret: str

    def application(self) -> web.Application:
        """The application with all routes."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        for route in ROUTES:
            app.router.add_route(route.method, f"{PROJECT_PATH}/storage/{route.path}", self._handler(route))
        app.router.add_route("GET", IDENTITY_PATH, self._give_token)
        app.router.add_route("*", "/{rest:.*}", self._refuse_unknown)
        return app

    def _handler(self, route: Route) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            sequence = self._open(request, route.name)
            body = await request.read()
            self.log.note(sequence, body_size=len(body))
            if self.latency:
                await asyncio.sleep(self.latency)
            try:
                user = self._admit(request, route, sequence)
            except Refusal as refusal:
                return self._close(sequence, _refused(refusal))
            query = dict(request.query)
            if_match = request.headers.get("If-Match")
            call = Call(user=user, parts=request.match_info, query=query, body=body, if_match=if_match)
            fault = self.faults.take(route.name, user)
            if fault is None:
                return self._close(sequence, self._serve(route, call))
            self.log.note(sequence, fault=fault.kind)
            answer = await self._go_wrong(fault, route, call)
            return self._drop(request) if answer is None else self._close(sequence, answer)

        return handle

    def _open(self, request: web.Request, name: str) -> int:
        query = {key: text for key, text in request.query.items() if key != "api-version"}
        path = request.rel_url.raw_path.removeprefix(PROJECT_PATH)
        return self.log.open(request.method, name, path, query)

    def _close(self, sequence: int, answer: web.Response) -> web.Response:
        self.log.note(sequence, status=answer.status)
        return answer

    def _admit(self, request: web.Request, route: Route, sequence: int) -> str | None:
        # The SDK sends the header also for an empty call id.
        call_id = request.headers.get(CALL_ID_HEADER) or None
        delegated = request.headers.get(DELEGATED_USER_HEADER) if route.is_delegable else None
        user = delegated or (self.resolve_user(call_id) if call_id else None)
        self.log.note(sequence, user=user, call_id=call_id)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refusal(401, "unauthorized", "A bearer token is required.")
        if user is None and self.anonymous == "refuse" and route.is_personal:
            raise Refusal(401, "unauthorized", f"No user: the header {CALL_ID_HEADER} is required.")
        if request.query.get("api-version") != API_VERSION:
            raise bad_request(f"api-version must be {API_VERSION}.", "api-version")
        return user

    def _serve(self, route: Route, call: Call) -> web.Response:
        try:
            return _json(route.serve(self.storage, call), route.status)
        except Refusal as refusal:
            return _refused(refusal)

    async def _go_wrong(self, fault: Fault, route: Route, call: Call) -> web.Response | None:
        """The response under a fault, or `None` for no response."""
        applied = self._serve(route, call) if fault.is_applied else None
        match fault.kind:
            case "status":
                return _failed(fault)
            case "leak":
                return _json(_leak(), fault.status)
            case "reset" | "lose_answer":
                return None
            case "hang":
                await fault.released.wait()
                return applied or self._serve(route, call)
            case "slow":
                await asyncio.sleep(fault.latency)
                return applied or self._serve(route, call)
            case "garbage":
                return web.Response(body=b'{"id": "half an ans', content_type="application/json")
            case _:
                assert_never(fault.kind)

    def _drop(self, request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        # Never sent: the connection is closed.
        return web.Response()

    async def _give_token(self, request: web.Request) -> web.Response:
        if request.headers.get(IDENTITY_HEADER) != self.identity_secret:
            return _refused(Refusal(401, "unauthorized", f"The header {IDENTITY_HEADER} is missing or wrong."))
        expires_on = int(time.time()) + LIFETIME_SECONDS
        resource = request.query.get("resource", "")
        return _json(
            {"access_token": TOKEN, "expires_on": str(expires_on), "resource": resource, "token_type": "Bearer"}
        )

    async def _refuse_unknown(self, request: web.Request) -> web.Response:
        sequence = self._open(request, "unknown")
        return self._close(sequence, _refused(not_found(f"No route for {request.method} {request.path}.")))


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(value).encode(), status=status, content_type="application/json")


def _refused(refusal: Refusal) -> web.Response:
    answer = _json(refusal.envelope, refusal.status)
    answer.headers.update(refusal.headers)
    return answer


def _failed(fault: Fault) -> web.Response:
    headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
    return _refused(Refusal(fault.status, fault.code, fault.message, headers=headers))


def _leak() -> dict[str, object]:
    principal, tenant, key, address = LEAKED_SECRETS
    message = f"Principal {principal} of tenant {tenant} may not read from {address} with {key}."
    return {"error": {"code": "forbidden", "message": message, "details": [{"target": address}], "trace": key}}
