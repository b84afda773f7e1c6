"""An error that means: the user must agree first. Which servers say it how, and the link they give.

- Foundry's toolbox: JSON-RPC code -32006 (-32007 before 2026). The message is the link, or a sentence and a JSON object
  `{"errors": [{"name": "...", "error": {"code": "CONSENT_REQUIRED", "message": "<link>"}}]}`.
- MCP: code -32042, `data.elicitations[]` with `mode: "url"` and `url`.

Nothing here says whether a link is safe to show: the oauth family does, when the content leaves.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final, cast

from agent_framework import (
    AgentResponseUpdate,
    ChatContext,
    ChatResponse,
    ChatResponseUpdate,
    Content,
    chat_middleware,
)
from agent_framework.exceptions import UserInputRequiredException

from hostedagent.errors import foreign_attribute
from hostedagent.protocol.values import fields_of, objects_of, rows_of

_TOOLBOX_CODES: Final = frozenset({-32006, -32007})
_URL_ELICITATION: Final = -32042
_SCHEMES: Final = ("https://", "http://")


def consent_requests(error: BaseException, label: str = "") -> list[Content]:
    """The requests for consent that an error stands for; none when it means something else.

    Args:
        error: What connecting to a server, or calling it, raised.
        label: What to call the server when the error does not name the part of it that asks.
    """
    for link in _chain(error):
        if isinstance(link, UserInputRequiredException):
            contents = [row for row in rows_of(link.contents) if isinstance(row, Content)]
            return contents if contents and all(row.type == "oauth_consent_request" for row in contents) else []
        if is_consent_error(link):
            return [consent_request(url, name or label) for url, name in dict.fromkeys(_links(link))]
    return []


def consent_request(link: str, label: str) -> Content:
    """The content for one link."""
    return Content.from_oauth_consent_request(link, additional_properties={"server_label": label})


def is_consent_error(error: BaseException) -> bool:
    """Whether this very error, not its cause, asks for consent. Its message may hold a link: it is not for models."""
    code = _code(error)
    return type(code) is int and code in _TOOLBOX_CODES | {_URL_ELICITATION}


def asking_instead(error: BaseException) -> AgentResponseUpdate | None:
    """What the run says in place of an error that asks for consent; `None` for other errors."""
    contents = consent_requests(error)
    return AgentResponseUpdate(contents=contents, role="assistant") if contents else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set[int]()
    while waiting:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting.extend(cast("BaseExceptionGroup[BaseException]", link).exceptions if _is_group(link) else ())
        linked = (foreign_attribute(link, "__cause__"), foreign_attribute(link, "__context__"))
        waiting.extend(cause for cause in linked if isinstance(cause, BaseException))


def _is_group(error: BaseException) -> bool:
    return isinstance(error, BaseExceptionGroup)


def _data(error: BaseException) -> object:
    return foreign_attribute(error, "error")


def _code(error: BaseException) -> object:
    return foreign_attribute(_data(error), "code")


def _links(error: BaseException) -> Iterator[tuple[str, str]]:
    """Every link with the name of what asks, which may be empty."""
    data = _data(error)
    code = _code(error)
    if type(code) is int and code == _URL_ELICITATION:
        for row in _rows(foreign_attribute(data, "data"), "elicitations"):
            if isinstance(url := row.get("url"), str) and row.get("mode", "url") == "url":
                yield url, ""
        return
    message = foreign_attribute(data, "message")
    if not isinstance(message, str):
        return
    if message.strip().startswith(_SCHEMES):
        yield message.strip(), ""
        return
    for row in _rows(_object_in(message), "errors"):
        said = fields_of(row.get("error"))
        if said.get("code") == "CONSENT_REQUIRED" and isinstance(url := said.get("message"), str):
            name = row.get("name")
            yield url.strip(), name if isinstance(name, str) else ""


def _object_in(message: str) -> object:
    start = message.find("{")
    if start < 0:
        return None
    try:
        return json.JSONDecoder().raw_decode(message[start:])[0]
    except (ValueError, RecursionError):
        return None


def _rows(value: object, name: str) -> list[Mapping[str, object]]:
    return objects_of(fields_of(value).get(name))


@chat_middleware
async def consent_ids(context: ChatContext, call_next: Callable[[], Awaitable[None]]) -> None:
    """Chat middleware that gives a model service's requests for consent an id, which agents inside a workflow need.

    Agent Framework fails a workflow whose agent asks without one.
    """
    context.stream_transform_hooks.append(_with_ids)
    await call_next()
    if isinstance(context.result, ChatResponse):
        for message in context.result.messages:
            _name(message.contents)


def _with_ids(update: ChatResponseUpdate) -> ChatResponseUpdate:
    _name(update.contents)
    return update


def _name(contents: Sequence[Content]) -> None:
    for content in contents:
        if content.type == "oauth_consent_request" and not content.id:
            content.id = f"consent_{uuid.uuid4().hex}"
