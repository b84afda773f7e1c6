"""Adds the local page of `hostedagent run` to a host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hostedagent.agents.run import model_name
from hostedagent.agents.standing_rules import keeps_rules
from hostedagent.platform import is_hosted
from hostedagent.server.edge import is_loopback

if TYPE_CHECKING:
    from hostedagent.host import AgentHost


def page_url(
    host: AgentHost,
    *,
    url: str,
    address: str,
    name: str,
    store: str,
    token: str | None,
    hosts: Mapping[str, AgentHost] | None = None,
) -> str | None:
    """Adds the page to a host, if it may be served.

    It is never served in a hosted process. If other machines can reach the host, it requires a token.

    Args:
        url: The address of the server, without a path.
        token: Required to open the page; `None` for no token.
        hosts: The hosts of all agents of a group, by name, of which the page lets its user choose.

    Returns:
        The address of the page; `None` when it is not served.
    """
    if is_hosted() or (token is None and not is_loopback(address)):
        return None
    from hostedagent.server.playground import add_page

    spans_of = _record_spans()
    agents = [{"name": one, "root": other.prefix} for one, other in (hosts or {}).items()]
    add_page(
        host.app, {**_settings(host, name, store), "agents": agents}, prefix=host.prefix, token=token, spans_of=spans_of
    )
    return f"{url}{host.prefix}/" + (f"?token={token}" if token is not None else "")


def _record_spans() -> Callable[[str], list[dict[str, Any]]]:
    from hostedagent.server.playground.traces import exports_spans, install

    if not exports_spans():  # Prompts and answers stay on the page: a collector must not get them unasked.
        from agent_framework.observability import enable_sensitive_telemetry

        enable_sensitive_telemetry()
    return install().spans_of


def _settings(host: AgentHost, name: str, store: str) -> dict[str, Any]:
    from hostedagent.server.playground.workflow import describe_workflow

    workflow = host.sample_workflow
    return {
        "agent": getattr(host.agent or workflow, "name", None) or name,
        "model": model_name(host.agent),
        "store": store,
        "workflow": None if workflow is None else describe_workflow(workflow),
        "keeps_approvals": keeps_rules(host.agent or SimpleNamespace(workflow=workflow)),
        "version": version("hostedagent"),
        "root": host.prefix,
        "options": _json(asdict(host.options)),
    }


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _json(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, set | frozenset | tuple | list):
        return [_json(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return value
