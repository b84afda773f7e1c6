"""Short lines for events, with stable names instead of ids: `resp`, `message-0`, `call-1`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from hostedagent.protocol.stream.grammar import EVENTS, Event, Kind, Rule

SHORT = {"output_text": "text", "arguments": "args", "reasoning_text": "thought", "summary_text": "summary"}
MARKS = {"open": "+", "delta": "", "done": "="}
# Fields that distinguish items of a type, in order of preference.
HEADLINES = ("server_label", "name", "call_id", "approval_request_id", "output", "error", "result")


class Renderer:
    """Renders the events of one stream in order, and assigns names to ids as they occur."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._calls = 0
        self._lines: dict[Kind, Callable[[str, Rule, Event], str]] = {
            "snapshot": self._snapshot,
            "terminal": self._snapshot,
            "item": self._item,
            "part": self._part,
            "text": self._text,
            "note": self._note,
        }

    def line(self, event: Event) -> str:
        """The line of one event, its number first."""
        kind = str(event.get("type"))
        rule = EVENTS.get(kind)
        render = self._other if rule is None else self._lines.get(rule.kind, self._other)
        found = f"{event.get('sequence_number', '?')} {render(kind.removeprefix('response.'), rule or _OTHER, event)}"
        # Longest first: one id may be a prefix of another.
        for known in sorted(self._names, key=len, reverse=True):
            found = found.replace(known, self._names[known])
        return found.rstrip()

    def _name(self, known: Any, name: str) -> None:
        if isinstance(known, str) and known:
            self._names.setdefault(known, name)

    def _snapshot(self, short: str, rule: Rule, event: Event) -> str:
        response: Mapping[str, Any] = event.get("response") or {}
        self._name(response.get("id"), "resp")
        words = [short]
        if response.get("status") != short:
            words.append(str(response.get("status")))
        if error := response.get("error"):
            words.append(f"{error.get('code')} {_quoted(error.get('message'))}")
        if details := response.get("incomplete_details"):
            words.append(str(details.get("reason")))
        if usage := response.get("usage"):
            words.append(f"usage={usage.get('input_tokens')}/{usage.get('output_tokens')}")
        return " ".join(words)

    def _item(self, short: str, rule: Rule, event: Event) -> str:
        item: Mapping[str, Any] = event.get("item") or {}
        index, kind = event.get("output_index"), item.get("type")
        self._name(item.get("id"), f"{kind}-{index}")
        if isinstance(call_id := item.get("call_id"), str) and call_id not in self._names:
            self._calls += 1
            self._name(call_id, f"call-{self._calls}")
        words = [f"item{'+' if rule.edge == 'open' else '-'} {index} {kind}"]
        words += [_value(item[name]) for name in HEADLINES if item.get(name)]
        if rule.edge == "done" and item.get("status"):
            words.append(str(item["status"]))
        return " ".join(words)

    def _part(self, short: str, rule: Rule, event: Event) -> str:
        part: Mapping[str, Any] = event.get("part") or {}
        return f"part{'+' if rule.edge == 'open' else '-'} {_place(rule, event)} {part.get('type')}"

    def _text(self, short: str, rule: Rule, event: Event) -> str:
        name = SHORT.get(rule.channel, rule.channel)
        value = event.get("delta" if rule.edge == "delta" else rule.field)
        return f"{name}{MARKS[rule.edge]} {_place(rule, event)} {_quoted(value)}"

    def _note(self, short: str, rule: Rule, event: Event) -> str:
        note: Mapping[str, Any] = event.get("annotation") or {}
        target = next((str(note[name]) for name in ("url", "filename", "file_id") if note.get(name)), "")
        return f"note {_place(rule, event)} {note.get('type')} {target}"

    def _other(self, short: str, rule: Rule, event: Event) -> str:
        words = [short]
        words += [str(event[name]) for name in ("output_index", "partial_image_index") if name in event]
        words += [_quoted(event[name]) for name in ("code", "message", "delta") if event.get(name)]
        return " ".join(words)


_OTHER = Rule("loose")


def _place(rule: Rule, event: Event) -> str:
    index = event.get("output_index")
    return f"{index}.{event.get(rule.index)}" if rule.index else f"{index}"


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, str) and len(value) <= 40 and " " not in value:
        return value
    shown = _quoted(cast("object", value))
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
