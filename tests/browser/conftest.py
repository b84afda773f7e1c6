"""A real browser: Chromium from the system, driven by Playwright. Without either, these tests are skipped."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.patience import PATIENCE
from tests.samples import server

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

FOLDER = Path(__file__).parent

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def _png(width: int, height: int) -> bytes:
    """A picture of a sunset, so that a screenshot shows one."""
    rows = b"".join(
        b"\0" + bytes((240 - y, 200 - y * 2, 120 + y)) * width
        if y < 55
        else b"\0" + bytes((20, 50 + y // 4, 90)) * width
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PICTURE = _png(160, 90)
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"


def chromium() -> str:
    """The path of the browser."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium: install it (Debian: apt-get install chromium)")
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder on one loop, on which their browser lives."""
    for item in items:
        if FOLDER in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="package"), append=False)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncGenerator[Browser]:
    """The browser of all tests; each has a page and a profile of its own."""
    api = pytest.importorskip("playwright.async_api", reason="no Playwright: uv sync")
    api.expect.set_options(timeout=PATIENCE * 1000)
    async with api.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield browser
        await browser.close()


_servers = ExitStack()
_urls: dict[str, str] = {}


@pytest.fixture(scope="package", autouse=True)
def shared_servers() -> Generator[None]:
    """Stop at the end what `served` has started."""
    with _servers:
        yield
    _urls.clear()


@contextmanager
def served(target: str, **variables: str) -> Generator[str]:
    """The URL of a server of a target; without variables of its own, that of all tests."""
    if variables:
        with server.served(target, folder=server.ROOT, **variables) as url:
            yield url
        return
    if target not in _urls:
        _urls[target] = _servers.enter_context(server.served(target))
    yield _urls[target]


def expect(locator: Locator) -> Any:
    """What an element must come to: the assertion waits for it, as the page shows everything a moment later."""
    from playwright.async_api import expect

    return expect(locator)


class Chat:
    """The page as its user sees it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("console", lambda message: self.problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.problems.append(error.message))

    async def open(self, url: str) -> None:
        await self.page.goto(f"{url}/")
        await self.page.locator("#conversations li").first.wait_for(state="attached")

    async def leave(self) -> None:
        """Leaves the page, before its server ends: a request that is under way would fail."""
        await self.page.goto("about:blank")

    async def ask(self, text: str) -> None:
        """Sends a message and waits until its turn has ended."""
        await self.page.fill("#message", text)
        await self.page.press("#message", "Enter")
        await self.page.locator(".turn:last-child .input", has_text=text).wait_for()
        await self.ended()

    async def ended(self) -> None:
        await self.page.locator(".turn").last.get_by_role("button", name="Inspect").wait_for()

    def last(self) -> Any:
        """The latest turn."""
        return self.page.locator(".turn").last

    async def picture(self, name: str) -> None:
        """Keeps a screenshot, light and dark, as an artefact of the run."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            await self.page.emulate_media(color_scheme=scheme)
            await self.page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}.png")


@pytest_asyncio.fixture(loop_scope="package")
async def chat(browser: Browser) -> AsyncGenerator[Chat]:
    page = await browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page.set_default_timeout(PATIENCE * 1000)
    chat = Chat(page)
    yield chat
    await page.close()
    assert chat.problems == []


OpenChat = Callable[[], Chat]
