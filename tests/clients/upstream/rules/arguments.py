"""Arguments of a tool call must come back as the model wrote them.

No provider refuses changed arguments, and that is the trouble: a host that joins deltas and the final text doubles
them in silence. Arguments of a call that this provider made are compared, others must be one JSON object.
"""

from __future__ import annotations

import json

from .broken import Ledger, broken


def check_arguments(call_id: str, arguments: object, ledger: Ledger) -> None:
    """Raise when the arguments are not text, or not what the model wrote."""
    if not isinstance(arguments, str):
        broken(
            "arguments are text", f"Invalid type for 'arguments': expected a string, got {type(arguments).__name__}."
        )
    sent = ledger.arguments.get(call_id)
    if arguments == sent:
        return
    value = _parsed(arguments)
    if not isinstance(value, dict):
        broken("arguments are one JSON object", f"the arguments of {call_id!r} are {arguments!r}")
    # Where the API takes only objects, a client has to wrap what the model failed to write as one.
    if sent is not None and isinstance(_parsed(sent), dict) and value != _parsed(sent):
        broken("arguments come back unchanged", f"{call_id!r} was called with {sent!r}, not {arguments!r}")


def _parsed(text: str) -> object:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return None
