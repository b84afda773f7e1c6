"""Computer use: actions that the model requests on a screen, and the screenshot that shows their result.

Safety checks of the provider are sent with the call. Acknowledging them is the caller's decision: acknowledgements are
passed on, never created.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent_framework import Content, get_namespaced_value, with_namespaced_value

from hostedagent.errors import InvalidRequest
from hostedagent.protocol.checks import array, mapping, required_text
from hostedagent.protocol.content.calls import read_text
from hostedagent.protocol.content.codec import Codec, Key, OpenItem, Output, Part, whole
from hostedagent.protocol.content.parts import read_image
from hostedagent.protocol.content.provider_items import call_status, provider_id
from hostedagent.protocol.types import Item, Json, MutableItem


def read(item: Item) -> Sequence[Content]:
    """Read a call, or the screenshot that answers it.

    The contents are created without their factories, which would warn the developer that computer use is experimental
    for every item of a caller.
    """
    return [_read_output(item) if item.get("type") == "computer_call_output" else _read_call(item)]


def _read_call(item: Item) -> Content:
    call_id = required_text(item, "call_id")
    is_single = item.get("actions") is None and item.get("action") is not None
    rows: Json = [item["action"]] if is_single else item.get("actions")
    actions = [dict(mapping(row, f"actions[{n}]")) for n, row in enumerate(array(rows, "actions"))]
    if not actions:
        raise InvalidRequest("computer_call needs actions, at least one.", param="actions")
    return Content(
        "computer_tool_call",
        id=provider_id(item) or required_text(item, "id"),
        call_id=call_id,
        actions=actions,
        status=read_text(item, "status"),
        pending_safety_checks=_read_checks(item, "pending_safety_checks"),
        user_input_request=True,
        additional_properties=(
            with_namespaced_value(None, "openai", "computer_action_format", "single") if is_single else None
        ),
    )


def _read_output(item: Item) -> Content:
    screenshot = mapping(item.get("output"), "output")
    if screenshot.get("type") != "computer_screenshot":
        raise InvalidRequest("computer_call_output.output must be a computer_screenshot.", param="output.type")
    image = read_image(screenshot, "output")
    file_id: object = screenshot.get("file_id")
    if image.type != "hosted_file" and isinstance(file_id, str) and file_id:
        image.file_id = file_id
    return Content(
        "computer_tool_result",
        id=provider_id(item),
        call_id=required_text(item, "call_id"),
        screenshot=image,
        status=read_text(item, "status"),
        acknowledged_safety_checks=_read_checks(item, "acknowledged_safety_checks"),
    )


def _read_checks(item: Item, name: str) -> Json:
    if item.get(name) is None:
        return None
    checks: list[dict[str, Json]] = []
    for n, row in enumerate(array(item[name], name)):
        check = mapping(row, f"{name}[{n}]")
        if not isinstance(check.get("id"), str) or not check["id"]:
            raise InvalidRequest(f"{name}[{n}] needs id, a non-empty string.", param=f"{name}[{n}].id")
        checks.append(_check(check))
    return checks


def _check(check: Mapping[str, Json]) -> dict[str, Json]:
    return {name: check[name] for name in ("id", "code", "message") if isinstance(check.get(name), str)}


def key(part: Part) -> Key:
    """A call and its result are two items; they share the call's id."""
    return ("computer", part.content.type, part.content.call_id or "")


def _write_call(part: Part) -> MutableItem:
    content = part.content
    actions = [dict(action) for action in content.actions or ()]
    is_single = get_namespaced_value(content.additional_properties, "openai", "computer_action_format") == "single"
    return {
        "type": "computer_call",
        "id": content.id,
        "call_id": content.call_id or "",
        **({"action": actions[0]} if is_single and actions else {"actions": actions}),
        "pending_safety_checks": [dict(check) for check in content.pending_safety_checks or ()],
        "status": call_status(content.status),
    }


def _write_output(part: Part) -> MutableItem:
    content = part.content
    item: MutableItem = {
        "type": "computer_call_output",
        "id": content.id,
        "call_id": content.call_id or "",
        "output": _write_screenshot(content.screenshot),
        "status": call_status(content.status),
    }
    if content.acknowledged_safety_checks is not None:
        item["acknowledged_safety_checks"] = [dict(check) for check in content.acknowledged_safety_checks]
    return item


def _write_screenshot(screenshot: Content | None) -> dict[str, Json]:
    wire: dict[str, Json] = {"type": "computer_screenshot"}
    if screenshot is None:
        return wire
    if screenshot.type in ("data", "uri") and screenshot.uri:
        wire["image_url"] = screenshot.uri
    if screenshot.file_id:
        wire["file_id"] = screenshot.file_id
    if detail := get_namespaced_value(screenshot.additional_properties, "openai", "image_detail"):
        wire["detail"] = detail
    return wire


_open_call = whole("cu", _write_call)
_open_output = whole("cuo", _write_output)


def open_computer(part: Part, output: Output) -> OpenItem:
    """A call and its result each come whole."""
    return (_open_call if part.content.type == "computer_tool_call" else _open_output)(part, output)


COMPUTER = Codec(
    family="computer",
    content_types=("computer_tool_call", "computer_tool_result"),
    item_types={"computer_call": "assistant", "computer_call_output": "user"},
    read=read,
    open=open_computer,
    key=key,
    absent={"stream": "Model clients deliver actions and screenshots only when they are complete."},
    limits=(
        "Agent Framework's support of computer use is experimental.",
        "Safety checks are sent to the caller with the call; the host never acknowledges one.",
        "A screenshot that is neither an image URL nor a file id cannot be read back: the model sees a placeholder.",
    ),
)
