"""Settings of the host (`HostOptions`) and of what requests may set (`CallerPolicy`). All defaults are safe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast, get_args

from msgspec import Struct

from hostedagent.errors import ConfigurationError

if TYPE_CHECKING:
    from agent_framework import CompactionStrategy

FOUNDRY_CONSENT_ORIGINS: Final = frozenset(
    {"https://*.consent.azure-apim.net", "https://*.consent.azure-apihub.net"},
)
"""Origins of the consent links of Foundry's connections."""

MAX_SHUTDOWN_GRACE: Final = 8.0
"""Seconds: the SDK cuts off what still runs after ten, and the outcome of a turn must be stored before that."""

OwnTools: TypeAlias = Literal["mcp_call", "function_call", "hidden"]
Consent: TypeAlias = Literal["item", "message"]
AgentStreaming: TypeAlias = Literal["as_needed", "always"]
WhenBusy: TypeAlias = Literal["reject", "queue", "interrupt", "steer"]
HistoryOwner: TypeAlias = Literal["replay", "service", "session"]

Instructions: TypeAlias = Literal["forward", "append", "refuse"]

UnknownTools: TypeAlias = Literal["refuse", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerPolicy:
    """The decisions of the developer that a caller may change; by default none.

    Args:
        allow_model: Whether `model` chooses the model. Otherwise it is accepted and ignored, and the response names
            the model that answered.
        instructions: How a request's `instructions` reach the agent. `forward`: as the caller's words in front of the
            conversation, exactly like a system message in the input. `append`: added to the agent's own instructions;
            system and developer messages of the input keep their role too. `refuse`: answered with 400.
        allow_function_tools: Whether the caller may bring function tools, which the caller runs itself.
        allow_server_tools: The types of server-side tools that a caller may add (for example `"web_search"`). A
            remote MCP server (`"mcp"`) lets a caller reach any host from the agent's network: allow it with care.
        unknown_tools: How tools of any other type are treated. `refuse`: answered with 400. `drop`: the request is
            served without them, for clients that always offer tools of their own service.

    Raises:
        ConfigurationError: A value is not one of those listed.
    """

    allow_model: bool = False
    instructions: Instructions = "forward"
    allow_function_tools: bool = True
    allow_server_tools: frozenset[str] = field(default_factory=frozenset[str])
    unknown_tools: UnknownTools = "refuse"

    def __post_init__(self) -> None:
        _check_choice("CallerPolicy.instructions", self.instructions, get_args(Instructions))
        _check_choice("CallerPolicy.unknown_tools", self.unknown_tools, get_args(UnknownTools))
        _check_flags(self, _POLICY_FLAGS, "CallerPolicy.")
        _check_texts("CallerPolicy.allow_server_tools", self.allow_server_tools)

    @property
    def trusts_roles(self) -> bool:
        """Whether system and developer messages of callers keep their role."""
        return self.instructions == "append"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """Settings of the host.

    Args:
        caller: The fields that requests may set.
        history: The owner of the conversation. `replay`: the host's response store; `service`: the model's service;
            `session`: the agent's own history provider.
        when_busy: How a request is treated while its conversation has a running turn. `reject`: answered with 409.
            `queue`: it waits until the turn has ended, up to 16 per conversation. `interrupt`: the turn is cancelled
            first. `steer`: the turn ends as `incomplete` with the reason `steered` once the tool calls of its current
            step have their results, or when it is done. The last two need the package's own routes.
        own_tools: How calls of the agent's own tools are sent. `mcp_call`: one item with the call and its result, which
            every client treats as work of the server; `function_call`: two items, as the model created them, which
            many clients try to answer themselves; `hidden`: not at all.
        compaction: A strategy of Agent Framework for `context_management` and `/responses/compact`; by default the
            agent's `compaction_strategy`, else a summary by its chat client.
        agent_streaming: Whether the agent streams if no client reads a stream. `as_needed`: a turn whose answer is sent
            whole runs an agent of Agent Framework without streaming, at a fraction of the cost. It still streams in the
            background, with `run_timeout`, `transform_update`, `when_busy="steer"`, middleware of the agent or of its
            client, or Anthropic's client, which refuses long requests without streaming. `always`: it always streams.
        max_body_bytes: The largest request body in bytes; larger ones get 413.
        max_depth: The deepest nesting of a request body; deeper ones get 400.
        max_values: The most JSON values in a request body, keys not counted; more get 400.
        max_items: The most input items; more get 400.
        max_parts: The most content parts of all input items together; more get 400.
        max_tools: The most tools that a caller may bring; more get 400.
        max_include: The most entries in `include`; more get 400.
        max_schema_depth: The deepest nesting of a tool's `parameters` or of a `text.format.schema`; deeper ones get
            400.
        retention: Seconds that sessions, approvals and leases are kept after their last change.
        allow_snapshots: Whether the platform may capture the initialized process and start copies of it. Its routes
            for that have no authentication: only the platform may reach the port.
        accepts_protocol_1: Whether a hosted process accepts the isolation headers of container protocol 1.0.0.
        consent_origins: The origins that a tool's consent link may have, as `https://host` or `https://*.domain`; by
            default those of Foundry's connections; `None` for any. A link to any other origin fails the turn.
        consent: How a consent link is sent. `item`: an `oauth_consent_request`, and the response ends `incomplete` with
            the reason `consent_required`, as on the platform; `message`: a message with the link, which every client
            shows, and the response ends `completed`.
        show_intermediate: Whether a workflow's intermediate outputs are sent too.
        max_turns: The most concurrent turns, background turns included; `None` for no limit.
        max_waiting: The most requests that wait for a free turn; more get 429 with `Retry-After`.
        max_queued: The most stored background turns that wait in the store for a free turn on any replica, with the
            status `queued`; more get 429 with `Retry-After`. Needs `resilient_background` and the package's own routes.
        max_queued_per_user: The most queued turns of one user; `None` for no limit of their own.
        run_timeout: Seconds without output after which a run fails with `timeout`; `None` for no limit.
        keep_alive: Seconds between comments on a quiet stream; with 0, `SSE_KEEPALIVE_INTERVAL` decides if it is set.
        resilient_background: Whether the next process finishes a stored background turn whose process died.
            On the package's own routes, it needs other stores than `foundry_stores()`.
        allowed_hosts: Host names that are served, and whose pages may call, besides the loopback ones: `name`,
            `*.domain`, or `*` for every name. A server on a loopback address serves no others; any other server checks
            names only if some are given.
        cors: Origins whose pages may call the host from a browser, as `https://app.example.com` or
            `http://localhost:3000`; `*` for pages of every origin, which is safe only if the host uses no cookies.
        head_timeout: Seconds within which the head of a request must arrive, else the connection is closed.
        body_timeout: Seconds within which the body of a request must arrive, else the request gets 408.
        max_connections: The most concurrent connections; more get 503. `None` for as many as the limit on descriptors
            allows, less those that the process needs itself.
        shutdown_grace: Seconds that running turns have to finish after SIGTERM; at most 8.

    Raises:
        ConfigurationError: A value is out of range, or two values contradict each other.
    """

    caller: CallerPolicy = field(default_factory=CallerPolicy)
    history: HistoryOwner = "replay"
    own_tools: OwnTools = "mcp_call"
    compaction: CompactionStrategy | None = None
    agent_streaming: AgentStreaming = "as_needed"
    when_busy: WhenBusy = "reject"
    max_body_bytes: int = 16 * 1024 * 1024
    max_depth: int = 100
    max_values: int = 250_000
    max_items: int = 10_000
    max_parts: int = 10_000
    max_tools: int = 128
    max_include: int = 64
    max_schema_depth: int = 50
    retention: float = 30 * 86400.0
    allow_snapshots: bool = False
    accepts_protocol_1: bool = False
    consent_origins: frozenset[str] | None = FOUNDRY_CONSENT_ORIGINS
    consent: Consent = "item"
    show_intermediate: bool = True
    max_turns: int | None = None
    max_waiting: int = 0
    max_queued: int = 0
    max_queued_per_user: int | None = None
    run_timeout: float | None = None
    keep_alive: float = 0
    resilient_background: bool = False
    allowed_hosts: frozenset[str] = field(default_factory=frozenset[str])
    cors: frozenset[str] = field(default_factory=frozenset[str])
    head_timeout: float = 20.0
    body_timeout: float = 120.0
    max_connections: int | None = None
    shutdown_grace: float = MAX_SHUTDOWN_GRACE

    def __post_init__(self) -> None:
        _check_choice("history", self.history, get_args(HistoryOwner))
        _check_choice("own_tools", self.own_tools, get_args(OwnTools))
        _check_choice("consent", self.consent, get_args(Consent))
        _check_choice("agent_streaming", self.agent_streaming, get_args(AgentStreaming))
        _check_choice("when_busy", self.when_busy, get_args(WhenBusy))
        for name, wanted in _NUMBERS.items():
            wanted.check(name, getattr(self, name))
        _check_flags(self, _FLAGS)
        if not isinstance(self.caller, CallerPolicy):  # pyright: ignore[reportUnnecessaryIsInstance] - not typed code
            raise ConfigurationError(f"caller is a CallerPolicy(...), not {self.caller!r}.")
        if self.compaction is not None and (not callable(self.compaction) or isinstance(self.compaction, type)):
            raise ConfigurationError(f"compaction is a CompactionStrategy, not {self.compaction!r:.80}.")
        _check_texts("allowed_hosts", self.allowed_hosts)
        _check_origins("cors", self.cors, _ORIGIN, "'https://app.example.com', or '*'")
        if self.consent_origins is not None:
            _check_origins("consent_origins", self.consent_origins, _CONSENT_ORIGIN, "'https://*.example.com'")


_INFINITE: Final = float("inf")


_HOST: Final = r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?"
_ORIGIN: Final = re.compile(rf"\*|[a-z][a-z0-9+.-]*://{_HOST}", re.IGNORECASE)
_CONSENT_ORIGIN: Final = re.compile(rf"https?://(\*\.)?{_HOST}", re.IGNORECASE)


def _check_origins(name: str, origins: frozenset[str], form: re.Pattern[str], example: str) -> None:
    _check_texts(name, origins)
    for origin in origins:
        if form.fullmatch(origin) is None:
            raise ConfigurationError(f"{name} has origins such as {example}, not {origin!r}.")


def _check_texts(name: str, values: object) -> None:
    """Refuse one text in place of a set of texts: `in` would find every part of it."""
    if isinstance(values, str):
        raise ConfigurationError(f"{name} is a set of texts: frozenset({{{values!r}}}), not one text.")
    if not isinstance(values, Set | Sequence) or not all(isinstance(row, str) for row in cast("Set[object]", values)):
        raise ConfigurationError(f'{name} is a set of texts such as frozenset({{"..."}}), not {values!r:.80}.')


def _check_flags(options: object, names: Sequence[str], prefix: str = "") -> None:
    for name in names:
        if not isinstance(getattr(options, name), bool):
            raise ConfigurationError(f"{prefix}{name} is True or False, not {getattr(options, name)!r}.")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigurationError(f"{name} is one of {', '.join(choices)}, not {value!r}.")


class _Number(Struct, frozen=True):
    """The valid range of a number."""

    least: float = 0
    most: float = _INFINITE
    is_whole: bool = False
    may_be_none: bool = False
    may_be_zero: bool = False

    def check(self, name: str, value: object) -> None:
        if (value is None and self.may_be_none) or (value == 0 and self.may_be_zero and not isinstance(value, bool)):
            return
        kind = int if self.is_whole else int | float
        if isinstance(value, bool) or not isinstance(value, kind) or not self._allows(value):
            also = (", or None" if self.may_be_none else "") + (", or 0" if self.may_be_zero else "")
            what = "a whole number" if self.is_whole else "a number"
            limits = f"of {self.least:g} or more" if self.most == _INFINITE else f"from {self.least:g} to {self.most:g}"
            raise ConfigurationError(f"{name} is {what} {limits}{also}, not {value!r}.")

    def _allows(self, value: float) -> bool:
        return self.least <= value <= self.most and value != _INFINITE


_NUMBERS: Final[Mapping[str, _Number]] = {
    "max_body_bytes": _Number(1, is_whole=True),
    "max_depth": _Number(1, is_whole=True),
    "max_values": _Number(1, is_whole=True),
    "max_items": _Number(1, is_whole=True),
    "max_parts": _Number(1, is_whole=True),
    "max_tools": _Number(is_whole=True),
    "max_include": _Number(is_whole=True),
    "max_schema_depth": _Number(1, is_whole=True),
    "retention": _Number(),
    "max_turns": _Number(1, is_whole=True, may_be_none=True),
    "max_waiting": _Number(is_whole=True),
    "max_queued": _Number(is_whole=True),
    "max_queued_per_user": _Number(1, is_whole=True, may_be_none=True),
    "run_timeout": _Number(0.001, may_be_none=True),
    "keep_alive": _Number(1, may_be_zero=True),  # The SDK counts whole seconds.
    "head_timeout": _Number(0.001),
    "body_timeout": _Number(0.001),
    "max_connections": _Number(1, is_whole=True, may_be_none=True),
    "shutdown_grace": _Number(most=MAX_SHUTDOWN_GRACE),
}
"""Every number of `HostOptions`."""

_FLAGS: Final = ("allow_snapshots", "accepts_protocol_1", "show_intermediate", "resilient_background")
"""Every option of `HostOptions` that is true or false."""

_POLICY_FLAGS: Final = ("allow_model", "allow_function_tools")
"""Every option of `CallerPolicy` that is true or false."""
