"""Describes a workflow for the page: its graph, and the schema of its start value.

The graph is that of a workflow which the host built only for inspection. The spans of a turn show which executors run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from agent_framework import Message

from hostedagent.agents.workflow_start import MESSAGES, start_type
from hostedagent.agents.workflow_types import answer_schema

_INTERNAL: Final = "internal:"
"""Names of Agent Framework's internal sources, through which a workflow receives its input and answers."""


def describe_workflow(workflow: object) -> dict[str, Any]:
    """A workflow as JSON.

    Returns:
        `graph` has `nodes` (`id`, `type`, `is_start`, `is_output`) and `edges` (`from`, `to`, `label`); it is `None`
        for a functional workflow, which is code. `start` is the JSON schema of a typed start, and `None` for a
        workflow that starts with a text or with messages.
    """
    kind = start_type(workflow)
    schema = None if kind in (MESSAGES, Message, str) else answer_schema(kind) or None
    as_dict = getattr(workflow, "to_dict", None)
    return {"graph": _graph(as_dict()) if callable(as_dict) else None, "start": schema}


def _graph(found: Any) -> dict[str, Any] | None:
    if not found.get("executors"):
        return None
    outputs = set(found.get("output_executors", ()))
    nodes = [
        {
            "id": name,
            "type": row.get("type", ""),
            "is_start": name == found.get("start_executor_id"),
            "is_output": name in outputs,
        }
        for name, row in found["executors"].items()
    ]
    return {"nodes": nodes, "edges": list(_edges(found.get("edge_groups", ())))}


def _edges(groups: Any) -> Iterator[dict[str, str]]:
    for group in cast("list[Mapping[str, Any]]", groups):
        for edge in group["edges"]:
            if not edge["source_id"].startswith(_INTERNAL):
                yield {"from": edge["source_id"], "to": edge["target_id"], "label": _label(edge.get("condition_name"))}


def _label(condition: str | None) -> str:
    """The name of a condition; none for functions without a name."""
    return "" if condition is None or condition.startswith("<") else condition
