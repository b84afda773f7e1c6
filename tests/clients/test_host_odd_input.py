"""Odd but lawful input: the next request to each provider is one that its rules allow."""

from __future__ import annotations

from typing import Any

import pytest
from hosted import CLIENTS, PIXEL, hosting
from upstream import Text

Items = list[dict[str, Any]]
FIRST: Items = [{"role": "user", "content": "a"}]
LAST: Items = [{"role": "user", "content": "b"}]
IMAGE = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"}
BETWEEN: dict[str, Items] = {
    "an empty answer": [{"role": "assistant", "content": ""}],
    "an answer without parts": [{"role": "assistant", "content": []}],
    "an image that an assistant gave": [{"role": "assistant", "content": [IMAGE]}],
    "a generated image": [{"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": PIXEL}],
    "a web search": [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
    ],
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("what", BETWEEN)
async def test_what_providers_refuse_reaches_none(what: str, client: str) -> None:
    async with hosting(CLIENTS[client]) as hosted:
        hosted.script(Text("ok"))

        log = await hosted.ask([*FIRST, *BETWEEN[what], *LAST])

        assert log.status == "completed"
