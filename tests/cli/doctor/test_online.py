"""`--online`: a token is asked for and the roles are listed, here by a credential and a service of the test."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hostedagent.cli.doctor import checks, online
from tests.cli.doctor.bench import SCOPE, Bench

MANAGER = "eadc314b-1a2d-4efa-be10-5d325db5065e"
USER = "53ca6127-db72-4b80-b1b0-d745d6d5456d"
OWNER = "c883944f-8b7b-4483-af10-35834be79c4a"


class Credential:
    """Gives out a token of somebody with the object id `me`."""

    def __init__(self, failure: Exception | None = None, *, hangs: bool = False) -> None:
        self._failure = failure
        self._hangs = hangs

    async def get_token(self, *scopes: str) -> Any:
        if self._hangs:
            await asyncio.Event().wait()
        if self._failure is not None:
            raise self._failure
        body = base64.urlsafe_b64encode(json.dumps({"oid": "me", "scopes": scopes}).encode()).decode().rstrip("=")
        return SimpleNamespace(token=f"head.{body}.signature")

    def open(self) -> AbstractAsyncContextManager[online.Credential]:
        @asynccontextmanager
        async def opened() -> AsyncGenerator[online.Credential]:
            yield self

        return opened()


@contextmanager
def arm(*roles: str, status: int = 200) -> Generator[tuple[str, list[str]]]:
    """A service that lists role assignments: its address, and the paths that were asked for."""
    asked: list[str] = []
    rows = [{"properties": {"roleDefinitionId": f"/subscriptions/0/roleDefinitions/{role}"}} for role in roles]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps({"value": rows}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_token_that_comes_is_no_finding(bench: Bench) -> None:
    assert list(online.token(bench.project(), Credential().open)) == []


def test_no_token_is_found_with_its_reason_and_the_way_to_sign_in(bench: Bench) -> None:
    failing = Credential(RuntimeError("Please sign in.\nAnd more."))

    (found,) = online.token(bench.project(), failing.open)

    assert (found.code, found.level, found.fix) == ("credentials.token", "error", "az login")
    assert found.message.endswith(": RuntimeError: Please sign in.")


def test_a_credential_that_hangs_is_given_up(bench: Bench) -> None:
    bench.monkeypatch.setattr(online, "PATIENCE", 0.05)

    (found,) = online.token(bench.project(), Credential(hangs=True).open)

    assert found.code == "credentials.token"
    assert "TimeoutError" in found.message


@pytest.mark.parametrize("held", [(MANAGER, USER), (MANAGER,), (OWNER,)])
def test_roles_that_are_held_are_no_finding(held: tuple[str, ...], bench: Bench) -> None:
    bench.azd(AZURE_AI_PROJECT_ID=SCOPE)

    with arm(*held) as (address, asked):
        assert list(online.roles(bench.project(), Credential().open, address)) == []

    (path,) = asked
    assert urlsplit(path).path == f"{SCOPE}/providers/Microsoft.Authorization/roleAssignments"
    assert parse_qs(urlsplit(path).query)["$filter"] == ["assignedTo('me')"]


def test_a_role_that_lacks_is_found_with_the_command_that_gives_it(bench: Bench) -> None:
    bench.azd(AZURE_AI_PROJECT_ID=SCOPE)

    with arm(USER, "8e3af657-a8ff-443c-a75c-2fe8c4bcb635") as (address, _):
        (found,) = online.roles(bench.project(), Credential().open, address)

    assert (found.code, found.level) == ("roles.missing", "error")
    assert "me lacks the role Foundry Project Manager" in found.message
    assert found.fix == (
        'az role assignment create --assignee-object-id "me" --assignee-principal-type User'
        f' --role {MANAGER} --scope "{SCOPE}"'
    )


def test_roles_that_cannot_be_listed_are_a_warning_with_the_command_that_lists_them(bench: Bench) -> None:
    bench.azd(AZURE_AI_PROJECT_ID=SCOPE)

    with arm(status=403) as (address, _):
        (found,) = online.roles(bench.project(), Credential().open, address)

    assert (found.code, found.level) == ("roles.unknown", "warning")
    assert found.fix.startswith('az role assignment list --all --assignee "')


def test_no_roles_are_asked_for_before_there_is_a_project(bench: Bench) -> None:
    failing = Credential(RuntimeError("nobody must ask"))

    assert list(online.roles(bench.project(), failing.open)) == []


def test_azure_is_asked_only_with_the_option() -> None:
    usual, asking = checks(), checks(is_online=True)

    assert [name for name in usual if usual[name] is not asking[name]] == ["credentials", "roles"]
    assert not {check for check in usual.values() if check.__module__ == online.__name__}
