"""A valid stream with every family of streamed content, written out by hand: the log that the mutations break."""

import copy
from typing import Any

Events = list[dict[str, Any]]


class Script:
    """Writes events; keeps the number, the index and the finished items."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.events: Events = []
        self.items: list[dict[str, Any]] = []

    def add(self, kind: str, **fields: Any) -> None:
        self.events.append({"type": f"response.{kind}", "sequence_number": len(self.events), **fields})

    def snapshot(self, kind: str, status: str, **fields: Any) -> None:
        base: dict[str, Any] = {
            "id": f"resp_{self.tag}",
            "object": "response",
            "created_at": 1,
            "model": "m",
            "output": [],
        }
        self.add(kind, response={**base, "status": status, **fields})

    def sub(self, kind: str, **fields: Any) -> None:
        self.add(kind, item_id=f"{self.open['type']}_{self.index}{self.suffix}", output_index=self.index, **fields)

    @property
    def suffix(self) -> str:
        return "" if self.tag == "1" else self.tag

    def item(self, **fields: Any) -> None:
        self.index = len(self.items)
        self.open = {"id": f"{fields['type']}_{self.index}{self.suffix}", "status": "in_progress", **fields}
        self.add("output_item.added", output_index=self.index, item=copy.deepcopy(self.open))

    def done(self, **fields: Any) -> None:
        item = {**self.open, "status": "completed", **fields}
        self.items.append(item)
        self.add("output_item.done", output_index=self.index, item=copy.deepcopy(item))

    def text(self, prefix: str, field: str, *deltas: str, **place: Any) -> str:
        for delta in deltas:
            self.sub(f"{prefix}.delta", delta=delta, **place)
        self.sub(f"{prefix}.done", **{field: "".join(deltas)}, **place)
        return "".join(deltas)


def full_log(tag: str = "1") -> Events:
    """A fresh copy; `tag` makes other ids."""
    script = Script(tag)
    script.snapshot("created", "queued")
    script.snapshot("queued", "queued")
    script.snapshot("in_progress", "in_progress")
    _message(script)
    _reasoning(script)
    _calls(script)
    _hosted_tools(script)
    _whole_item(script)
    usage = {
        "input_tokens": 7,
        "output_tokens": 9,
        "total_tokens": 16,
        "output_tokens_details": {"reasoning_tokens": 1},
    }
    script.snapshot("completed", "completed", output=copy.deepcopy(script.items), usage=usage)
    return script.events


def _message(script: Script) -> None:
    script.item(type="message", role="assistant", content=[])
    script.sub("content_part.added", content_index=0, part={"type": "output_text", "text": "", "annotations": []})
    for delta in ("Hel", "lo"):
        script.sub("output_text.delta", content_index=0, delta=delta)
    notes = [{"type": "url_citation", "url": f"https://example.com/{number}"} for number in range(2)]
    for number, note in enumerate(notes):
        script.sub("output_text.annotation.added", content_index=0, annotation_index=number, annotation=note)
    script.sub("output_text.done", content_index=0, text="Hello")
    text = {"type": "output_text", "text": "Hello", "annotations": notes}
    script.sub("content_part.done", content_index=0, part=copy.deepcopy(text))
    script.sub("content_part.added", content_index=1, part={"type": "refusal", "refusal": ""})
    refusal = {"type": "refusal", "refusal": script.text("refusal", "refusal", "But ", "no.", content_index=1)}
    script.sub("content_part.done", content_index=1, part=copy.deepcopy(refusal))
    script.done(content=[text, refusal])


def _reasoning(script: Script) -> None:
    script.item(type="reasoning", summary=[])
    script.sub("reasoning_summary_part.added", summary_index=0, part={"type": "summary_text", "text": ""})
    summary = {"type": "summary_text", "text": script.text("reasoning_summary_text", "text", "Hm", summary_index=0)}
    script.sub("reasoning_summary_part.done", summary_index=0, part=copy.deepcopy(summary))
    thought = script.text("reasoning_text", "text", "raw", content_index=0)
    script.done(summary=[summary], content=[{"type": "reasoning_text", "text": thought}])


def _calls(script: Script) -> None:
    call_id = f"call_{script.tag}"
    script.item(type="function_call", name="get_weather", call_id=call_id, arguments="")
    script.done(arguments=script.text("function_call_arguments", "arguments", '{"city":', '"Paris"}'))
    script.item(type="mcp_call", name="ask", server_label="docs", arguments="")
    script.sub("mcp_call.in_progress")
    arguments = script.text("mcp_call_arguments", "arguments", "{}")
    script.sub("mcp_call.completed")
    script.done(arguments=arguments, output="ok")
    script.item(type="custom_tool_call", name="run", call_id=f"{call_id}_c", input="")
    script.done(input=script.text("custom_tool_call_input", "input", "a", "b"))


def _hosted_tools(script: Script) -> None:
    script.item(type="code_interpreter_call", code="", container_id="c")
    script.sub("code_interpreter_call.in_progress")
    code = script.text("code_interpreter_call_code", "code", "1+", "2")
    script.sub("code_interpreter_call.interpreting")
    script.sub("code_interpreter_call.completed")
    script.done(code=code)
    script.item(type="image_generation_call")
    script.sub("image_generation_call.in_progress")
    script.sub("image_generation_call.generating")
    script.sub("image_generation_call.partial_image", partial_image_index=0, partial_image_b64="AA==")
    script.sub("image_generation_call.completed")
    script.done(result="AAAA")
    script.item(type="shell_call", call_id=f"call_{script.tag}_s", action={"commands": []})
    place = {"output_index": script.index, "command_index": 0}
    script.add("shell_call_command.added", command="", **place)
    script.add("shell_call_command.delta", delta="ls", **place)
    script.add("shell_call_command.done", command="ls", **place)
    script.done(action={"commands": ["ls"]})


def _whole_item(script: Script) -> None:
    script.item(type="function_call", name="whole", call_id=f"call_{script.tag}_w", arguments='{"a":1}')
    script.done()
