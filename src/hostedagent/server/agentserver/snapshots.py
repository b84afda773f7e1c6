"""Memory snapshots on the SDK's host, which has the routes, sets the environment and calls these functions."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from hostedagent.engine.hooks import RestoredSession
from hostedagent.errors import ConfigurationError

if TYPE_CHECKING:
    from hostedagent.engine.snapshots import Snapshots
    from hostedagent.server.agentserver.app import App

_SDK: Final = "azure-ai-agentserver-core"


def prepare_for_snapshots(app: App, snapshots: Snapshots) -> None:
    """Suspend and resume the host when the platform says so.

    Raises:
        ConfigurationError: This version of the SDK knows no snapshots.
    """
    before: Any = getattr(app, "before_snapshot_handler", None)
    after: Any = getattr(app, "after_restore_handler", None)
    if before is None or after is None:
        raise ConfigurationError(
            f"allow_snapshots needs {_SDK} 2.3 or later, and {version(_SDK)} is installed: "
            f"pip install --pre '{_SDK}>=2.3.0b2', or use AgentHost(driver='starlette')."
        )

    async def restored(context: Any) -> None:
        session = RestoredSession(context.session_id, context.restore_id, dict(context.session_env_overrides))
        await snapshots.after(session)

    before(snapshots.before)
    after(restored)
