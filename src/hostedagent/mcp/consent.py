"""Recognises errors that ask the user for consent, and extracts their links.

- Foundry's toolbox: JSON-RPC code -32006 (-32007 before 2026). The message is the link, or a sentence and a JSON object
  `{"errors": [{"name": "...", "error": {"code": "CONSENT_REQUIRED", "message": "<link>"}}]}`.
- MCP: code -32042, `data.elicitations[]` with `mode: "url"` and `url`.

Whether a link is safe to show is checked by the oauth family, when the content is sent.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final, cast

from agent_framework import AgentResponseUpdate, ChatContext, ChatResponse, ChatResponseUpdate, Content, chat_middleware
from agent_framework.exceptions import UserInputRequiredException

from hostedagent.errors import causes, foreign_attribute
from hostedagent.protocol.values import fields_of, objects_of, rows_of

_TOOLBOX_CODES: Final = frozenset({-32006, -32007})
_URL_ELICITATION: Final = -32042
_SCHEMES: Final = ("https://", "http://")


def consent_requests(error: BaseException, label: str = "") -> list[Content]:
    """The consent requests in an error; empty for any other error.

    Args:
        error: The error of connecting to a server or calling it.
        label: Name of the server, used if the error does not name the connection that needs consent.
    """
    for link in causes(error, _links_of):
        if issubclass(type(link), UserInputRequiredException):
            contents = [row for row in rows_of(foreign_attribute(link, "contents")) if isinstance(row, Content)]
            return contents if contents and all(row.type == "oauth_consent_request" for row in contents) else []
        if is_consent_error(link):
            return [consent_request(url, name or label) for url, name in dict.fromkeys(_links(link))]
    return []


def consent_request(link: str, label: str) -> Content:
    """The content for one link."""
    return Content.from_oauth_consent_request(link, additional_properties={"server_label": label})


def is_consent_error(error: BaseException) -> bool:
    """Whether this error itself asks for consent. Its message may contain a link, so no model may see it."""
    code = _code(error)
    return type(code) is int and code in _TOOLBOX_CODES | {_URL_ELICITATION}


def asking_instead(error: BaseException) -> AgentResponseUpdate | None:
    """The update that replaces an error that asks for consent; `None` for other errors."""
    contents = consent_requests(error)
    return AgentResponseUpdate(contents=contents, role="assistant") if contents else None


def _links_of(error: BaseException) -> Sequence[object]:
    members = cast("BaseExceptionGroup[BaseException]", error).exceptions if _is_group(error) else ()
    return [*members, foreign_attribute(error, "__cause__"), foreign_attribute(error, "__context__")]


def _is_group(error: BaseException) -> bool:
    return issubclass(type(error), BaseExceptionGroup)


def _data(error: BaseException) -> object:
    return foreign_attribute(error, "error")


def _code(error: BaseException) -> object:
    return foreign_attribute(_data(error), "code")


def _links(error: BaseException) -> Iterator[tuple[str, str]]:
    """Every link with the name of the connection, which may be empty."""
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
    """Chat middleware that adds an id to consent requests of a model service.

    Agent Framework fails a workflow whose agent emits one without an id.
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
