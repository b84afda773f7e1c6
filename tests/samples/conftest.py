from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.samples.server import served, served_by_uvicorn


@pytest.fixture(scope="package")
def hello() -> Iterator[str]:
    """The URL of samples/hello, served for all tests of this folder."""
    with served("samples/hello/agent.py") as url:
        yield url


@pytest.fixture(scope="package")
def approvals() -> Iterator[str]:
    """The URL of samples/approvals."""
    with served("samples/approvals/agent.py") as url:
        yield url


@pytest.fixture(scope="package")
def background() -> Iterator[str]:
    """The URL of samples/background."""
    with served("samples/background/agent.py") as url:
        yield url


@pytest.fixture(scope="package")
def mcp() -> Iterator[str]:
    """The URL of samples/mcp."""
    with served("samples/mcp/agent.py") as url:
        yield url


@pytest.fixture(scope="package")
def workflow() -> Iterator[str]:
    """The URL of samples/workflow."""
    with served("samples/workflow/agent.py") as url:
        yield url


@pytest.fixture(scope="package")
def tools() -> Iterator[str]:
    """The URL of samples/tools, named as a module."""
    with served("samples.tools.agent") as url:
        yield url


@pytest.fixture(scope="package")
def fastapi() -> Iterator[str]:
    """The URL of samples/fastapi, which is an application of its own."""
    with served_by_uvicorn("samples.fastapi.app:app") as url:
        yield url
