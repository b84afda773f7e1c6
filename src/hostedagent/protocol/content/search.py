"""Searches that the model's service runs: `web_search_call`, `file_search_call`, and the tool search.

The tool's name decides the item type. A search of an unknown kind becomes a file search, the closest type: it has
queries and results, and no client tries to run it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Final

from agent_framework import Content, get_namespaced_value

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.content.calls import CallItem, CallStatus, raw_value, read_call_id, read_list, read_status
from hostedagent.protocol.content.codec import Codec, Key, OpenItem, Output, Part, recall, whole
from hostedagent.protocol.json import decode_text
from hostedagent.protocol.types import Event, Item, Json, MutableItem
from hostedagent.protocol.values import each_of, is_mapping, is_object, is_rows, rows_of
from hostedagent.protocol.wire import wire_json, wire_text

_TOOLS: Final = "tool_search"
_WEB_ACTIONS: Final = ("search", "open_page", "find_in_page")


def read(item: Item) -> Sequence[Content]:
    """Read a search and its results."""
    call_id, status = read_call_id(item), read_status(item)
    match item.get("type"):
        case "tool_search_call":
            return [_call(_pair_id(item), _TOOLS, item.get("arguments"), status, _execution(item))]
        case "tool_search_output":
            found = {"tools": list(read_list(item, "tools") or ())}
            return [_result(_pair_id(item), _TOOLS, found, status, _execution(item))]
        case "web_search_call":
            name = str(recall(item).get("tool_name") or "web_search")
            action: object = item.get("action")
            if action is not None and not isinstance(action, Mapping):
                raise InvalidRequest("web_search_call.action must be an object.", param="action")
            return [_call(call_id, name, action, status), _result(call_id, name, {"action": action}, status)]
        case _:
            name = str(recall(item).get("tool_name") or "file_search")
            queries, results = read_list(item, "queries"), read_list(item, "results")
            arguments = {"queries": list(queries or ())}
            return [_call(call_id, name, arguments, status), _result(call_id, name, {"results": results}, status)]


def _call(
    call_id: str, name: str, arguments: Json, status: str | None, properties: dict[str, Json] | None = None
) -> Content:
    return Content.from_search_tool_call(
        call_id, tool_name=name, arguments=arguments, status=status, additional_properties=properties
    )


def _result(
    call_id: str, name: str, result: Json, status: str | None, properties: dict[str, Json] | None = None
) -> Content:
    return Content.from_search_tool_result(
        call_id, tool_name=name, result=result, status=status, additional_properties=properties
    )


def _pair_id(item: Item) -> str:
    call_id = item.get("call_id")
    return call_id if isinstance(call_id, str) and call_id else read_call_id(item)


def _execution(item: Item) -> dict[str, Json]:
    return {"openai": {"execution": "client" if item.get("execution") == "client" else "server"}}


def key(part: Part) -> Key:
    """A search and its result are one item; a tool search and its result are two."""
    content = part.content
    if content.tool_name == _TOOLS:
        return ("search", content.type, content.call_id or "")
    return ("search", content.call_id or "")


class _OpenSearch(CallItem):
    """A search that is running."""

    def __init__(self, part: Part, output: Output) -> None:
        super().__init__(part, output)
        self.arguments: dict[str, Json] = {}
        self.found: dict[str, Json] = {}
        self.queries: Json = None

    def memory(self) -> Mapping[str, Json]:
        """The tool's own name, because one item type may represent several tools."""
        return {"tool_name": self.first.content.tool_name}

    def take(self, part: Part) -> Iterator[Event]:
        """Take the search or its results."""
        content = part.content
        if content.type == "search_tool_call":
            self.arguments = _mapping(content.arguments, "query")
        else:
            self.queries = raw_value(content, "queries")
            self.found = _found(content)
            self.has_result = True
        if self.item is None:
            yield from self.begin()
            yield self.step("searching")


class OpenWebSearch(_OpenSearch):
    """A web search, or a page that is opened or searched."""

    prefix: ClassVar[str] = "ws"
    item_type: ClassVar[str] = "web_search_call"

    def wire(self, status: CallStatus) -> MutableItem:
        """The item; `action` contains the query and the sources."""
        action = {**self.arguments, **_mapping(self.found.get("action"), "query")}
        if action.get("type") not in _WEB_ACTIONS:
            action = {**action, "type": "search"}
        sources = [{"type": "url", "url": url} for url in _urls(self.found.get("results"))]
        if sources and not action.get("sources"):
            action["sources"] = sources
        return {"type": "web_search_call", "status": status, "action": action}


class OpenFileSearch(_OpenSearch):
    """A document search."""

    prefix: ClassVar[str] = "fs"
    item_type: ClassVar[str] = "file_search_call"

    def wire(self, status: CallStatus) -> MutableItem:
        """The item, with the results if the provider sends them."""
        # OpenAI's client emits the call before its queries are known; only the result's raw representation has them.
        queries: Json = self.arguments.get("queries") if self.queries is None else self.queries
        if not is_rows(queries):
            query = self.arguments.get("query")
            queries = [query] if isinstance(query, str) else [wire_json(self.arguments)] if self.arguments else []
        return {
            "type": "file_search_call",
            "status": status,
            "queries": list(queries),
            "results": self.found.get("results"),
        }


def _mapping(value: Json, name: str) -> dict[str, Json]:
    """Arguments as an object: JSON text is parsed, other text becomes the field `name`."""
    if isinstance(value, str):
        try:
            value = decode_text(value)
        except ValueError:
            return {name: wire_text(value)} if value else {}
    return json.loads(wire_json(value)) if isinstance(value, Mapping) else {}


def _found(content: Content) -> dict[str, Json]:
    """The results of a search: OpenAI's `action` or `results`, else one result for each entry."""
    result: Json = content.result
    if isinstance(result, str):
        try:
            result = decode_text(result)
        except ValueError:
            result = [result] if result else []
    if is_mapping(result) and ("action" in result or "results" in result):
        return {**result, "results": _rows(result["results"]) if result.get("results") is not None else None}
    entries: list[Json] = [*each_of(result), *(_entry(item) for item in content.items or ())]
    return {"results": _rows(entries)} if entries else {}


def _entry(item: Content) -> MutableItem:
    match item.type:
        case "uri":
            return {"url": item.uri}
        case "hosted_file":
            return {"file_id": item.file_id}
        case _:
            return {"text": item.text or f"[{item.type}]"}


def _rows(entries: Iterable[Json]) -> list[MutableItem]:
    """Each entry as a file search result; fields without a counterpart are kept as JSON text."""
    rows: list[MutableItem] = []
    for entry in entries:
        plain: Json = json.loads(wire_json(entry))
        if is_object(plain):
            rows.append(plain if plain.keys() & {"text", "file_id", "filename", "url"} else {"text": wire_json(plain)})
        else:
            rows.append({"text": plain if isinstance(plain, str) else wire_json(plain)})
    return rows


def _urls(rows: Json) -> list[str]:
    return [url for row in rows_of(rows) if isinstance(url := row.get("url"), str)]


def _write_tool_search(part: Part) -> MutableItem:
    content = part.content
    item: MutableItem = {
        "call_id": content.call_id,
        "execution": get_namespaced_value(content.additional_properties, "openai", "execution", "server"),
        "status": content.status if content.status == "incomplete" else "completed",
    }
    if content.type == "search_tool_result":
        return {"type": "tool_search_output", **item, "tools": _tools(content)}
    return {"type": "tool_search_call", **item, "arguments": _mapping(content.arguments, "query")}


def _tools(content: Content) -> list[Json]:
    return list(rows_of(_mapping(content.result, "text").get("tools")))


open_tool_search = whole("ts", _write_tool_search)
"""Opens a tool search, whether it arrives as a search or, from OpenAI's client, as a function call."""

_open_tool_search_output = whole("tso", _write_tool_search)


def open_search(part: Part, output: Output) -> OpenItem:
    """Select the item type by the tool's name."""
    content, name = part.content, (part.content.tool_name or "").lower()
    if name == _TOOLS:
        opens = _open_tool_search_output if content.type == "search_tool_result" else open_tool_search
        return opens(part, output)
    if "web" in name or name.startswith("bing"):
        return OpenWebSearch(part, output)
    return OpenFileSearch(part, output)


SEARCH = Codec(
    family="search",
    content_types=("search_tool_call", "search_tool_result"),
    item_types={
        "web_search_call": "assistant",
        "file_search_call": "assistant",
        "tool_search_call": "assistant",
        "tool_search_output": "assistant",
    },
    read=read,
    open=open_search,
    key=key,
    limits=(
        "A search whose tool is neither a web search nor a file search is sent as a `file_search_call`, because that "
        "has queries and results and no client runs it; the tool's own name is stored with the item.",
        "A web search call has no field for results: only the URLs of the results are sent, as sources.",
        "Anthropic's client returns web searches as function calls, so they are sent as function calls.",
        "Model clients do not send searches back to the model. A tool search is read as a search, not as the function "
        "call that OpenAI's client turns it into, because that call would be sent back without its output.",
        "OpenAI's client does not read the results of a tool search.",
    ),
)
