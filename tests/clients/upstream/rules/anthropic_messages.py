"""What the Anthropic Messages API demands of `messages`.

Consecutive messages of one role are one turn for the API, so they are joined before the pairs are looked at.
"""

from __future__ import annotations

import json
from itertools import groupby, pairwise
from typing import cast

from .arguments import check_arguments
from .broken import Json, Ledger, broken, first_repeated


def check_anthropic_messages(body: Json, ledger: Ledger | None = None) -> None:
    """Raise `BrokenRuleError` when the API would refuse the request's transcript."""
    messages = cast("list[Json]", body.get("messages") or [])
    if "max_tokens" not in body:
        broken("max_tokens is given", "max_tokens: Field required")
    if not messages or messages[0]["role"] != "user":
        broken("the user speaks first", 'messages: first message must use the "user" role')
    for index, message in enumerate(messages):
        _check_blocks(message, index, is_last=index == len(messages) - 1)
    turns = [
        [block for message in group for block in _blocks(message)]
        for _, group in groupby(messages, key=lambda message: message["role"])
    ]
    uses = [block for blocks in turns for block in blocks if block["type"] == "tool_use"]
    for use in uses:
        check_arguments(use["id"], json.dumps(use["input"]), ledger or Ledger())
    if repeated := first_repeated(use["id"] for use in uses):
        broken("tool_use ids are unique", f"messages: `tool_use` ids must be unique ({repeated})")
    nothing: list[Json] = []
    for before, after in pairwise([nothing, *turns, nothing]):
        _check_pair(before, after)


def _blocks(message: Json) -> list[Json]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else cast("list[Json]", content)


def _check_blocks(message: Json, index: int, *, is_last: bool) -> None:
    role = message["role"]
    if role not in ("user", "assistant"):
        broken("roles are user and assistant", f"messages.{index}.role: Input should be 'user' or 'assistant'")
    if not message["content"] and not (is_last and role == "assistant"):
        broken("messages are not empty", f"messages.{index}: all messages must have non-empty content")
    for block in _blocks(message):
        _check_block(block, role, f"messages.{index}.content")


def _check_block(block: Json, role: str, where: str) -> None:
    match block["type"]:
        case "text" if not str(block["text"]).strip():
            broken("text blocks are not empty", f"{where}: text content blocks must be non-empty")
        case "thinking" if not block.get("signature"):
            broken("thinking is signed", f"{where}.thinking.signature: Field required")
        case "tool_use" | "server_tool_use" | "thinking" if role != "assistant":
            broken("blocks fit the role", f"{where}: `{block['type']}` blocks can only be in `assistant` messages")
        case "tool_use" if not isinstance(block["input"], dict):
            broken("tool input is an object", f"{where}.tool_use.input: Input should be a valid dictionary")
        case "tool_result" if role != "user":
            broken("blocks fit the role", f"{where}: `tool_result` blocks can only be in `user` messages")
        case _:
            pass


def _check_pair(before: list[Json], after: list[Json]) -> None:
    """Look at one turn's tool uses and the results in the turn behind it."""
    uses = [block["id"] for block in before if block["type"] == "tool_use"]
    results = [block["tool_use_id"] for block in after if block["type"] == "tool_result"]
    if unanswered := [id_ for id_ in uses if id_ not in results]:
        broken(
            "every tool_use is answered in the next turn",
            f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(unanswered)}.",
        )
    if orphans := [id_ for id_ in results if id_ not in uses]:
        broken(
            "a tool_result answers a tool_use of the turn before",
            f"unexpected `tool_use_id` found in `tool_result` blocks: {', '.join(orphans)}.",
        )
    if repeated := first_repeated(results):
        broken("a tool_use is answered once", f"each tool_use must have a single result. Found multiple for {repeated}")
    if any(block["type"] != "tool_result" for block in after[: len(results)]):
        broken("tool_results stand first", "`tool_result` blocks must come before any other content of the message")
    _check_server_tools(before)


def _check_server_tools(blocks: list[Json]) -> None:
    answered = {block["tool_use_id"] for block in blocks if block["type"].endswith("_tool_result")}
    for block in blocks:
        if block["type"] == "server_tool_use" and block["id"] not in answered:
            broken(
                "a server tool use has its result beside it",
                f"`{block['name']}` tool use with id `{block['id']}` was found without a corresponding result block",
            )
