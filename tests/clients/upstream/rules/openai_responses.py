"""What the Responses API demands of `input`, alone or behind the response it continues."""

from __future__ import annotations

from typing import cast

from .arguments import check_arguments
from .broken import Json, Ledger, broken, first_repeated

ID_PREFIXES = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "web_search_call": "ws_",
    "file_search_call": "fs_",
    "code_interpreter_call": "ci_",
    "image_generation_call": "ig_",
    "mcp_call": "mcp_",
    "mcp_list_tools": "mcpl_",
    "mcp_approval_request": "mcpr_",
}
INPUT_TYPES = {"input_text", "input_image", "input_file", "input_audio"}
OUTPUT_TYPES = {"output_text", "refusal"}
ROLES = {"user", "system", "developer", "assistant"}
LONGEST_ID = 64


def check_openai_responses(body: Json, ledger: Ledger | None = None) -> None:
    """Raise `BrokenRuleError` when the API would refuse the request's input.

    With a ledger, `previous_response_id` and item ids are looked up in it; without one, what it would know is taken
    on trust.
    """
    given = _items(body)
    stored = _stored(body, ledger)
    for index, item in enumerate(given):
        _check_item(item, index)
        if item["type"] == "reasoning":
            _check_reasoning(given, index, body, ledger)
        if item["type"] == "function_call":
            check_arguments(item["call_id"], item["arguments"], ledger or Ledger())
    known = [*(stored or []), *given]
    _check_origins(known, ledger or Ledger())
    if repeated := first_repeated(item["id"] for item in known if item.get("id") and item["type"] != "item_reference"):
        broken(
            "item ids are unique",
            f"Duplicate item found with id {repeated}. Remove duplicate items from your input and try again.",
        )
    _check_calls(known, is_open_ended=stored is None)


def _items(body: Json) -> list[Json]:
    given = body.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return [{"type": "message", **item} for item in cast("list[Json]", given or [])]


def _stored(body: Json, ledger: Ledger | None) -> list[Json] | None:
    """The items before the input; None when something is there that nobody here knows."""
    if body.get("conversation"):
        return None
    previous = body.get("previous_response_id")
    if not previous:
        return []
    if ledger is None:
        return None
    if previous not in ledger.transcripts:
        broken("the previous response is stored", f"Previous response with id '{previous}' not found.")
    return ledger.transcripts[previous]


def _check_item(item: Json, index: int) -> None:
    where = f"input[{index}]"
    for name in ("id", "call_id"):
        value = item.get(name)
        if isinstance(value, str) and not 0 < len(value) <= LONGEST_ID:
            broken("ids have 1 to 64 characters", f"Invalid '{where}.{name}': {len(value)} characters long.")
    prefix = ID_PREFIXES.get(item["type"], "")
    if item.get("id") and not str(item["id"]).startswith(prefix):
        expected = prefix.removesuffix("_")
        broken(
            "ids begin as their type says",
            f"Invalid '{where}.id': '{item['id']}'. Expected an ID that begins with '{expected}'.",
        )
    if item["type"] == "message":
        _check_message(item, where)
    if item["type"] == "function_call_output" and not isinstance(item.get("output"), str | list):
        broken("a tool output is text or content", f"Invalid type for '{where}.output'.")


def _check_message(message: Json, where: str) -> None:
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        broken("roles are known", f"Invalid value: '{role}' - '{where}.role'.")
    if content is None or content == []:
        broken("messages are not empty", f"Missing required parameter: '{where}.content'.")
    allowed = OUTPUT_TYPES if role == "assistant" else INPUT_TYPES
    for part in cast("list[Json]", content) if isinstance(content, list) else []:
        if part["type"] not in allowed:
            values = ", ".join(f"'{name}'" for name in sorted(allowed))
            broken("content types fit the role", f"Invalid value: '{part['type']}'. Supported values are: {values}.")


def _check_reasoning(items: list[Json], index: int, body: Json, ledger: Ledger | None) -> None:
    item = items[index]
    if "summary" not in item:
        broken("reasoning has a summary", f"Missing required parameter: 'input[{index}].summary'.")
    is_stored = body.get("store") is not False if ledger is None else ledger.knows_item(item.get("id", ""))
    if not item.get("encrypted_content") and not is_stored:
        broken(
            "reasoning that is not stored comes encrypted",
            f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false.",
        )
    follower = next((other for other in items[index + 1 :] if other["type"] != "reasoning"), None)
    is_answer = follower is not None and not (
        (follower["type"] == "message" and follower.get("role") != "assistant")
        or str(follower["type"]).endswith("_output")
    )
    if not is_answer:
        broken(
            "reasoning is followed by what came of it",
            f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item.",
        )


def _check_origins(items: list[Json], ledger: Ledger) -> None:
    ids = {item.get("id") for item in items}
    for item in items:
        reasoning = ledger.reasoning_before(item["id"]) if item.get("id") and item["type"] != "reasoning" else None
        if reasoning is not None and reasoning not in ids:
            broken(
                "a stored item comes with its reasoning",
                f"Item '{item['id']}' of type '{item['type']}' was provided without its required 'reasoning' item: "
                f"'{reasoning}'.",
            )


def _check_calls(items: list[Json], *, is_open_ended: bool) -> None:
    """Pair calls with outputs, and approvals with requests; a call outside our sight counts as made."""
    calls = [item["call_id"] for item in items if item["type"] == "function_call"]
    outputs = [item["call_id"] for item in items if item["type"] == "function_call_output"]
    if repeated := first_repeated(calls):
        broken("call ids are unique", f"Duplicate function call with call_id {repeated}.")
    if repeated := first_repeated(outputs):
        broken("a call has one output", f"Duplicate function call output with call_id {repeated}.")
    if unanswered := [call_id for call_id in calls if call_id not in outputs]:
        broken("every call has an output", f"No tool output found for function call {unanswered[0]}.")
    _check_order(items, is_open_ended=is_open_ended)


def _check_order(items: list[Json], *, is_open_ended: bool) -> None:
    made: set[str] = set()
    for item in items:
        match item["type"]:
            case "function_call":
                made.add(item["call_id"])
            case "mcp_approval_request":
                made.add(item["id"])
            case "function_call_output" if item["call_id"] not in made and not is_open_ended:
                says = f"No tool call found for function call output with call_id {item['call_id']}."
                broken("an output follows its call", says)
            case "mcp_approval_response" if item["approval_request_id"] not in made and not is_open_ended:
                says = f"No approval request found with id {item['approval_request_id']}."
                broken("an approval answers a request", says)
            case _:
                pass
