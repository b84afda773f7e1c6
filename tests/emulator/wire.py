"""Wire values for the storage tests, as plain as they can be."""

from typing import Any


def message(item_id: str, text: str = "hi", **more: Any) -> Any:
    content = [{"type": "input_text", "text": text}]
    return {"id": item_id, "type": "message", "role": "user", "content": content, **more}


def response(response_id: str, *output: Any, **more: Any) -> Any:
    return {"id": response_id, "object": "response", "status": "in_progress", "output": list(output), **more}
