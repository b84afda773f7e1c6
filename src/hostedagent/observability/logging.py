"""Sets up logs: quiet, one line a record, with the ids of the turn. Switches off telemetry that nothing receives."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, Final, cast

from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider

from hostedagent.errors import ConfigurationError, causes, foreign_attribute
from hostedagent.identity import RequestContext, current_context, enter_context

_FLUSH_VARIABLE: Final = "AGENTSERVER_FLUSH_MODE"
"""The SDK's choice of how spans are handed on at the end of each request; by default a task and a thread do it."""

_FLUSH_AT_ONCE: Final = "sync"
"""Has hardly any cost if there is no span and no exporter."""

_STAND_INS: Final = ("opentelemetry.trace", "opentelemetry.metrics", "opentelemetry._logs")
"""Modules of OpenTelemetry's API whose providers do nothing."""

_LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"

_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}
"""Characters that end a line or move a terminal's cursor, written out."""

_MAX_KINDS: Final = 8
_MAX_NAME: Final = 80

_EXPECTED: Final = frozenset((404, 409, 412))
"""Statuses of the storage that say what is stored, and are handled where the call was made."""

_OWN: Final = __name__.partition(".")[0]

_NOISY: Final = {
    "agent_framework": logging.WARNING,
    "azure.core.pipeline.policies.http_logging_policy": logging.WARNING,
    "azure.identity": logging.WARNING,
    "azure.ai.agentserver": logging.WARNING,
    "httpx": logging.WARNING,
    "httpx2": logging.WARNING,
}


class Receivers:
    """Switches off telemetry that nothing receives, until there is a receiver or the host has stopped.

    This concerns Agent Framework's instrumentation, a third of the cost of a streamed update, and the SDK's propagation
    of spans. Settings of the application itself are not changed.
    """

    def __init__(self) -> None:
        self._restores: list[Callable[[], None]] = []
        self._have_come = False
        self._stand_ins: tuple[object, ...] | None = None

    def look(self) -> None:
        """Check for a receiver, which may appear at any time; cheap enough for each turn."""
        if self._have_come or (providers := _providers()) == self._stand_ins:
            return
        if not all(type(row).__module__.startswith(_STAND_INS) for row in providers):
            self._have_come = True
            self.restore()
        elif self._stand_ins is None:
            self._stand_ins = providers
            self._spare()

    def restore(self) -> None:
        """Switch everything on again, until the next turn checks."""
        self._stand_ins = None
        while self._restores:
            self._restores.pop()()

    def _spare(self) -> None:
        from agent_framework.observability import OBSERVABILITY_SETTINGS

        def instrument() -> None:
            OBSERVABILITY_SETTINGS.enable_instrumentation = True

        def flush() -> None:
            if os.environ.get(_FLUSH_VARIABLE) == _FLUSH_AT_ONCE:
                del os.environ[_FLUSH_VARIABLE]

        if OBSERVABILITY_SETTINGS.enable_instrumentation:
            OBSERVABILITY_SETTINGS.enable_instrumentation = False
            self._restores.append(instrument)
        if _FLUSH_VARIABLE not in os.environ:
            os.environ[_FLUSH_VARIABLE] = _FLUSH_AT_ONCE
            self._restores.append(flush)


RECEIVERS: Final = Receivers()
"""Those of this process, as OpenTelemetry's providers are."""


def _providers() -> tuple[object, ...]:
    return trace.get_tracer_provider(), metrics.get_meter_provider(), get_logger_provider()


def configure_logging(level: str | None = None) -> None:
    """One line a record on standard error, unless the application has set up logging itself."""
    if not hasattr(make := logging.getLogRecordFactory(), _OWN):
        logging.setLogRecordFactory(_naming_turns(make))
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Lines(_LOG_FORMAT))
        handler.addFilter(lambda record: record.name != "hypercorn.error")  # Hypercorn prints these itself.
        root.addHandler(handler)
        root.setLevel(level or os.environ.get("LOG_LEVEL", "INFO").upper())
    logging.getLogger("azure.ai.agentserver").addFilter(_quieten)
    for name in ("azure.ai.agentserver", "azure.ai.agentserver.core"):  # The SDK's clients of the stores.
        logging.getLogger(name).addFilter(_drop_expected)
    for name, least in _NOISY.items():
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(least)


def set_log_ids(response_id: str, session_id: str | None) -> None:
    """Set the turn of this package's log records, for this context and every task started from it."""
    ids = {"response_id": response_id, "session_id": session_id} if session_id else {"response_id": response_id}
    context = current_context()
    if context is None:
        enter_context(RequestContext(log_ids=ids))
    else:
        context.log_ids = ids


def _naming_turns(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Add `response_id` and `session_id` to the log records of this package only, for any handler.

    A filter would have to be added to each logger or handler, and an exporter brings its own handler.
    """

    def make_named(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        context = current_context()
        if context is not None and context.log_ids is not None and record.name.startswith(_OWN):
            record.__dict__.update(context.log_ids)
        return record

    setattr(make_named, _OWN, True)
    return make_named


class Lines(logging.Formatter):
    """Formats a record as one line that ends with the ids of its turn."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without a stack. It may contain input of a caller, whose line breaks must not start a new line."""
        line = super().formatMessage(record).translate(_CONTROLS)
        ids = [f"{name}={value}" for name in ("response_id", "session_id") if (value := getattr(record, name, None))]
        return f"{line} [{' '.join(ids)}]" if ids else line


def _quieten(record: logging.LogRecord) -> bool:
    """Drop the SDK's warning about an option that is off by design, and the stack traces of requests refused with 400.

    The SDK logs such a refusal as an error of its own, with some twenty lines of stack.
    """
    if str(record.msg).startswith("Failed to parse/validate create request"):
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return not str(record.msg).startswith("Responses resilience: DISABLED")


def _drop_expected(record: logging.LogRecord) -> bool:
    """Drop the SDK's warnings about expected answers of the storage: absent, exists already, has changed.

    Most turns look up records that may be absent, and two turns may compete for the same conversation.
    """
    arguments = record.args if isinstance(record.args, tuple) else ()
    return not (str(record.msg).startswith("Foundry storage") and _EXPECTED.intersection(arguments))


@contextmanager
def never_raising() -> Generator[None]:
    """Keep a log handler of the application that raises from ending what writes the line."""
    try:
        yield
    except (Exception, SystemExit) as error:  # noqa: BLE001 - handlers raise whatever they write to raises
        with suppress(OSError, ValueError):
            print(f"A line of the log was lost: its handler raised {kinds_of(error)}.", file=sys.stderr)


FAILURE_OBSERVERS: Final[list[Callable[[str, BaseException], None]]] = []
"""Called with each failure in place of its log line: on a developer's machine the terminal shows the text of errors."""


def log_failure(logger: logging.Logger, what: str, error: BaseException) -> None:
    """Log the types of an error and where it was raised. Its text may contain a prompt and needs `LOG_LEVEL=DEBUG`."""
    with never_raising():
        _log_failure(logger, what, error)


def _log_failure(logger: logging.Logger, what: str, error: BaseException) -> None:
    if FAILURE_OBSERVERS:
        for observe in FAILURE_OBSERVERS:
            observe(f"{what}.", error)
        return
    if logger.isEnabledFor(logging.DEBUG):
        logger.error("%s.", what, exc_info=error)
        return
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else "an unknown place"
    # The message of a mistake in the developer's own set-up is written by this package.
    text = (
        str(error)
        if issubclass(type(error), ConfigurationError)
        else "the text of the error is logged at LOG_LEVEL=DEBUG"
    )
    logger.error("%s: %s at %s (%s).", what, kinds_of(error), place, text)


def kinds_of(error: BaseException) -> str:
    """The class names of an error and its causes, as `RuntimeError from KeyError`."""
    return " from ".join(_class_name(type(link)) for link in islice(causes(error, _cause), _MAX_KINDS))


def _cause(error: BaseException) -> Sequence[object]:
    if issubclass(type(error), BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).exceptions[:1]
    return [foreign_attribute(error, "__cause__")]


def _class_name(kind: type) -> str:
    """The name of a class, if it is an identifier: code that builds classes may put any text there."""
    qualified = foreign_attribute(kind, "__qualname__")
    name = qualified.rpartition(">.")[2] if type(qualified) is str else ""
    parts = name.split(".")
    return name if len(name) <= _MAX_NAME and all(part.isidentifier() for part in parts) else "an unnamed error"
