"""AG-UI: the protocol of front ends such as CopilotKit and assistant-ui, with its own types and encoder."""

from __future__ import annotations

from hostedagent.doors.ag_ui.door import AgUi

__all__ = ["AgUi"]
