"""Approvals: the agent asks before it runs a tool, and the caller answers in a later request.

Every request is an `mcp_approval_request`, whatever the tool, because clients know how to answer that. It is recorded
before it is sent. The answer names the item on the wire; the stores map it to Agent Framework's request, know who may
answer it, and ensure that it is answered once. This family only reads and writes items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from agent_framework import Content

from hostedagent.errors import InvalidRequest
from hostedagent.failures import failed
from hostedagent.protocol.checks import required_text
from hostedagent.protocol.content.calls import read_text
from hostedagent.protocol.content.codec import Codec, Key, OpenItem, Output, Part, recall, whole
from hostedagent.protocol.content.own_calls import LOCAL_SERVER
from hostedagent.protocol.json import is_whole
from hostedagent.protocol.types import ApprovalRequest, Emission, EndTurn, Item, Json, MutableItem, SaveApproval
from hostedagent.protocol.values import fields_of
from hostedagent.protocol.wire import wire_json, wire_text

STANDING_RULES: Final = ("tool", "tool_with_arguments")
"""Values of an answer's field `always_approve`, an extension of this host."""

HOSTED_SERVER: Final = "provider"
"""The `server_label` of questions about a provider's tool when the provider does not say which server runs it."""


def read(item: Item) -> Sequence[Content]:
    """Read a question or an answer."""
    return [_read_answer(item) if item.get("type") == "mcp_approval_response" else _read_question(item)]


def _read_question(item: Item) -> Content:
    memory = recall(item)
    label = required_text(item, "server_label")
    is_hosted = bool(memory.get("hosted", label != LOCAL_SERVER))
    request_id = str(memory.get("request_id") or required_text(item, "id"))
    call = Content.from_function_call(
        str(memory.get("call_id") or request_id),
        required_text(item, "name"),
        arguments=required_text(item, "arguments", may_be_empty=True),
        id=None if is_hosted else request_id,
        hosted=is_hosted or None,
        server_name=label if is_hosted else None,
    )
    return Content.from_function_approval_request(request_id, call)


def _read_answer(item: Item) -> Content:
    approve: object = item.get("approve")
    if not isinstance(approve, bool):
        raise InvalidRequest("mcp_approval_response needs approve, true or false.", param="approve")
    rule = item.get("always_approve")
    if rule is not None and (rule not in STANDING_RULES or not approve):
        raise InvalidRequest(
            f"always_approve must be one of {', '.join(STANDING_RULES)}, beside approve: true; not {rule!r}.",
            param="always_approve",
        )
    reason = read_text(item, "reason")
    return Content(
        "function_approval_response",
        approved=approve,
        id=required_text(item, "approval_request_id"),
        additional_properties={"hostedagent": {"reason": reason}} if reason else None,
    )


def key(part: Part) -> Key:
    """Each request is sent once per response."""
    return ("approval", part.content.type, part.content.id or "")


class OpenQuestion(OpenItem):
    """An approval request, which arrives whole."""

    def append(self, part: Part) -> Iterator[Emission]:
        """Record the request, then send it. A request that could not be answered fails the turn."""
        content, call = part.content, part.content.function_call
        self.is_closed = True
        if call is None or not call.name or not content.id:
            yield EndTurn(failed("server_error"))
            return
        item_id = self.output.new_id("mcpr")
        arguments = _arguments(call)
        if not is_whole(arguments):  # The model's answer was cut off, and half a call cannot be approved.
            yield EndTurn(failed("server_error"))
            return
        # Recorded before the item begins: if that fails, the response must not have a gap in its output.
        request = ApprovalRequest(content.id, call.call_id, call.name, arguments, bool(call.hosted), call.server_name)
        yield SaveApproval(item_id, request)
        item = self.output.response.open_item(item_id, part.author)
        item.remember(request_id=content.id, call_id=call.call_id, hosted=bool(call.hosted))
        wire: MutableItem = {
            "type": "mcp_approval_request",
            "server_label": (call.server_name or HOSTED_SERVER) if call.hosted else LOCAL_SERVER,
            "name": call.name,
            "arguments": arguments,
        }
        yield item.added(dict(wire))
        yield item.done(wire)


def _arguments(call: Content) -> str:
    arguments: str | Mapping[str, Json] | None = call.arguments
    if isinstance(arguments, str) and arguments:
        return wire_text(arguments)
    return wire_json(arguments or {})


def _write_answer(part: Part) -> MutableItem:
    content = part.content
    item: MutableItem = {
        "type": "mcp_approval_response",
        "approval_request_id": content.id or "",
        "approve": content.approved is True,
    }
    reason = fields_of(content.additional_properties.get("hostedagent")).get("reason")
    return {**item, "reason": reason} if isinstance(reason, str) else item


_open_answer = whole("mcpa", _write_answer)


def open_approval(part: Part, output: Output) -> OpenItem:
    """Only requests are recorded. An answer is emitted only by an agent that replays a transcript."""
    return (
        _open_answer(part, output) if part.content.type == "function_approval_response" else OpenQuestion(part, output)
    )


APPROVAL = Codec(
    family="approval",
    content_types=("function_approval_request", "function_approval_response"),
    item_types={"mcp_approval_request": "assistant", "mcp_approval_response": "user"},
    read=read,
    open=open_approval,
    key=key,
    absent={"stream": "An approval request is sent once its arguments are complete."},
    limits=(
        "An approval request for the agent's own tool is an `mcp_approval_request` with the server label `agent`: the "
        "Responses protocol has no other item for it.",
        "The `reason` of an answer is passed to the agent, but Agent Framework does not pass it to the model.",
    ),
)
