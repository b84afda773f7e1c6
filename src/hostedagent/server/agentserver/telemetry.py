"""Sets up logs, and the SDK's telemetry only if there is an exporter, without content unless the developer asks for it.

Without an exporter, the SDK's own set-up dumps every record as JSON; with one, it captures prompts and answers by
default.
"""

from __future__ import annotations

import os
from typing import Any, Final

from hostedagent.observability.logging import configure_logging
from hostedagent.platform import INSIGHTS_VARIABLE

CAPTURE_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""OpenTelemetry's switch for prompts and answers in telemetry; off unless set."""

_EXPORTER_VARIABLES: Final = (
    INSIGHTS_VARIABLE,
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
)


def configure(*, connection_string: str | None = None, log_level: str | None = None, **_sdk: Any) -> None:
    """Set up logs, and telemetry if an exporter is configured; the SDK's host calls it with its own arguments.

    Args:
        log_level: A level's name; by default `LOG_LEVEL`, else `INFO`.
        **_sdk: Further arguments of the SDK's host, ignored because its default captures sensitive data.
    """
    configure_logging(log_level)
    os.environ.setdefault(CAPTURE_VARIABLE, "false")
    if connection_string or any(os.environ.get(name) for name in _EXPORTER_VARIABLES):
        from azure.ai.agentserver.core import configure_observability

        captures = os.environ[CAPTURE_VARIABLE].lower() in ("true", "1")
        configure_observability(
            connection_string=connection_string, log_level=log_level, enable_sensitive_data=captures
        )
