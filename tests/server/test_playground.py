"""The local page over HTTP: what is served, with which protections, and to whom."""

from __future__ import annotations

import gzip
import re
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from hostedagent import AgentHost
from hostedagent.server.playground import add_page, assets
from hostedagent.testing import InProcessClient, ScriptedAgent, serve

SETTINGS: dict[str, Any] = {
    "agent": "writer",
    "model": None,
    "store": "memory",
    "root": "",
    "version": "1",
    "options": {},
}


def served(token: str | None = None, prefix: str = "") -> AbstractAsyncContextManager[InProcessClient]:
    host = AgentHost(ScriptedAgent("hi"), prefix=prefix)
    add_page(host.app, SETTINGS, prefix=prefix, token=token)
    return serve(host.app)


async def test_every_file_that_the_page_names_is_served_as_its_type() -> None:
    async with served() as client:
        page = await client.get("/")
        assert page.status == 200 and page.headers["content-type"].startswith("text/html")
        named = re.findall(r'(?:src|href)="(playground/[^"]+)"', page.text)
        assert {"playground/app.js", "playground/style.css", "playground/vendor/purify.js"} <= set(named)
        for name in named:
            found = await client.get(f"/{name}")
            assert found.status == 200, name


async def test_every_import_of_the_scripts_is_a_file_of_the_page() -> None:
    files = assets()
    own = {name: text.decode() for name, text in files.items() if name.endswith(".js") and "/" not in name}
    imported = {path for text in own.values() for path in re.findall(r'from "\./([^"]+)"', text)}
    assert "turn.js" in imported
    assert imported <= set(files)


def test_the_page_requests_every_import_at_once() -> None:
    files = {name: text.decode() for name, text in assets().items() if name.endswith((".js", ".html"))}
    imported = {path for text in files.values() for path in re.findall(r'^import .* from "\./([^"]+)"', text, re.M)}
    preloaded = re.findall(r'<link rel="modulepreload" href="playground/([^"]+)">', files["index.html"])
    assert sorted(preloaded) == sorted(imported)


async def test_a_browser_gets_the_files_compressed() -> None:
    async with served() as client:
        for path, name in (("/", "index.html"), ("/playground/vendor/marked.js", "vendor/marked.js")):
            plain = await client.get(path)
            packed = await client.get(path, headers={"accept-encoding": "gzip, br"})
            assert "content-encoding" not in plain.headers
            assert packed.headers["content-encoding"] == "gzip" and packed.headers["vary"] == "accept-encoding"
            assert gzip.decompress(packed.body) == plain.body == assets()[name]
            assert len(packed.body) < len(plain.body) / 2


def test_the_page_loads_nothing_from_elsewhere_and_is_small() -> None:
    own = {name: data for name, data in assets().items() if not name.startswith("vendor/")}
    for name, data in own.items():
        addresses = re.findall(rb"https?://[a-z0-9.-]+", data)
        assert [one for one in addresses if one != b"http://www.w3.org"] == [], name
    assert sum(map(len, assets().values())) < 200_000


@pytest.mark.parametrize("path", ["/", "/playground/app.js", "/playground/settings.json", "/playground/nothing.js"])
async def test_the_page_runs_no_script_but_its_own_and_cannot_be_framed(path: str) -> None:
    async with served() as client:
        policy = (await client.get(path)).headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", ["../__init__.py", "..%2f__init__.py", "vendor/../../__init__.py", "/etc/passwd"])
async def test_nothing_but_the_files_of_the_page_is_served(name: str) -> None:
    async with served() as client:
        found = await client.get(f"/playground/{name}")
    assert found.status == 404
    assert "__future__" not in found.text and "root:" not in found.text


async def test_with_a_token_the_page_opens_only_with_it_and_keeps_it_out_of_the_address() -> None:
    async with served(token="s3cret") as client:
        for path in ("/", "/playground/app.js", "/playground/settings.json", "/?token=wrong"):
            assert (await client.get(path)).status == 401, path
        opened = await client.get("/?token=s3cret")
        assert (opened.status, opened.headers["location"]) == (303, "/")
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie
        page = await client.get("/", headers={"cookie": cookie.partition(";")[0]})
        assert page.status == 200


async def test_the_page_leaves_the_protocol_and_its_errors_as_they_are() -> None:
    async with served() as client:
        reply = await client.post("/responses", json={"input": "hi"})
        assert reply.json()["status"] == "completed"
        assert (await client.get("/nothing")).json()["error"]["code"] == "not_found"
        assert (await client.post("/", json={})).status == 405


async def test_with_a_prefix_the_page_is_below_it() -> None:
    async with served(prefix="/agents/writer") as client:
        assert (await client.get("/agents/writer/")).status == 200
        assert (await client.get("/agents/writer/playground/settings.json")).json() == SETTINGS
        assert (await client.get("/")).status == 404
