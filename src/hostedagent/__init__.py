"""hostedagent: serve a Microsoft Agent Framework agent or workflow over the Responses protocol.

```python
from hostedagent import AgentHost

AgentHost(agent).run()
```
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hostedagent.lazy import lazy

if TYPE_CHECKING:
    from hostedagent.agents.source import AgentFactory
    from hostedagent.conversation.history.foundry_provider import FoundryHistoryProvider
    from hostedagent.engine.hooks import Hooks, RestoredSession
    from hostedagent.errors import ConfigurationError, EffectUncertain, HostError, RequestError
    from hostedagent.host import AgentHost
    from hostedagent.host.group import AgentGroup
    from hostedagent.identity import (
        HeaderScopeResolver,
        IsolationKeys,
        Scope,
        ScopeResolver,
        get_current_isolation_keys,
        reset_current_isolation_keys,
        set_current_isolation_keys,
    )
    from hostedagent.mcp.toolbox import FoundryToolbox
    from hostedagent.mcp.toolset import McpTools
    from hostedagent.options import CallerPolicy, HostOptions
    from hostedagent.outcomes import (
        Cancelled,
        Completed,
        ErrorCode,
        Failed,
        Incomplete,
        IncompleteReason,
        Outcome,
        StopCause,
    )
    from hostedagent.protocol.request.turn_request import TurnRequest, current_turn
    from hostedagent.server.oidc import OidcScopeResolver
    from hostedagent.server.on_behalf_of import OnBehalfOf
    from hostedagent.stores.factory import Stores, foundry_stores, memory_stores, postgres_stores, sqlite_stores
    from hostedagent.webhooks.webhook import Webhook

    __version__: str

# The SDK prints a line on standard error for each experimental name it loads itself. Read when it is imported.
os.environ.setdefault("AZURE_AI_AGENTSERVER_DISABLE_EXPERIMENTAL_WARNING", "true")

_HOME = {
    "AgentFactory": "hostedagent.agents.source",
    "AgentGroup": "hostedagent.host.group",
    "AgentHost": "hostedagent.host",
    "CallerPolicy": "hostedagent.options",
    "Cancelled": "hostedagent.outcomes",
    "Completed": "hostedagent.outcomes",
    "ConfigurationError": "hostedagent.errors",
    "EffectUncertain": "hostedagent.errors",
    "ErrorCode": "hostedagent.outcomes",
    "FoundryHistoryProvider": "hostedagent.conversation.history.foundry_provider",
    "FoundryToolbox": "hostedagent.mcp.toolbox",
    "Failed": "hostedagent.outcomes",
    "HeaderScopeResolver": "hostedagent.identity",
    "HostError": "hostedagent.errors",
    "Hooks": "hostedagent.engine.hooks",
    "HostOptions": "hostedagent.options",
    "Incomplete": "hostedagent.outcomes",
    "IncompleteReason": "hostedagent.outcomes",
    "IsolationKeys": "hostedagent.identity",
    "McpTools": "hostedagent.mcp.toolset",
    "OidcScopeResolver": "hostedagent.server.oidc",
    "OnBehalfOf": "hostedagent.server.on_behalf_of",
    "Outcome": "hostedagent.outcomes",
    "RequestError": "hostedagent.errors",
    "RestoredSession": "hostedagent.engine.hooks",
    "Scope": "hostedagent.identity",
    "ScopeResolver": "hostedagent.identity",
    "StopCause": "hostedagent.outcomes",
    "Stores": "hostedagent.stores.factory",
    "TurnRequest": "hostedagent.protocol.request.turn_request",
    "Webhook": "hostedagent.webhooks.webhook",
    "current_turn": "hostedagent.protocol.request.turn_request",
    "foundry_stores": "hostedagent.stores.factory",
    "get_current_isolation_keys": "hostedagent.identity",
    "memory_stores": "hostedagent.stores.factory",
    "postgres_stores": "hostedagent.stores.factory",
    "reset_current_isolation_keys": "hostedagent.identity",
    "set_current_isolation_keys": "hostedagent.identity",
    "sqlite_stores": "hostedagent.stores.factory",
}
"""Public name to its module: imported when first used, so that `import hostedagent` costs nothing."""

__all__ = [
    "AgentFactory",
    "AgentGroup",
    "AgentHost",
    "CallerPolicy",
    "Cancelled",
    "Completed",
    "ConfigurationError",
    "EffectUncertain",
    "ErrorCode",
    "Failed",
    "FoundryHistoryProvider",
    "FoundryToolbox",
    "HeaderScopeResolver",
    "Hooks",
    "HostError",
    "HostOptions",
    "Incomplete",
    "IncompleteReason",
    "IsolationKeys",
    "McpTools",
    "OidcScopeResolver",
    "OnBehalfOf",
    "Outcome",
    "RequestError",
    "RestoredSession",
    "Scope",
    "ScopeResolver",
    "StopCause",
    "Stores",
    "TurnRequest",
    "Webhook",
    "current_turn",
    "foundry_stores",
    "get_current_isolation_keys",
    "memory_stores",
    "postgres_stores",
    "reset_current_isolation_keys",
    "set_current_isolation_keys",
    "sqlite_stores",
]


_load, __dir__ = lazy(__name__, _HOME)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("hostedagent")
    return _load(name)
