"""The identity of a request: the keys that the platform sends, and the storage scope derived from them.

Container protocol 2.0.0 sends one opaque user key and a call id for each request; the older contract sent a user key
and a chat key. `Scope` is the only place where storage keys are derived. They are hashed, and their parts are framed so
that no two lists of parts give the same key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context, ContextVar, Token
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, Protocol, runtime_checkable

from msgspec import Struct, structs

from hostedagent.errors import Unauthenticated
from hostedagent.platform import CALL_ID_HEADER, CHAT_ISOLATION_HEADER, USER_ID_HEADER, USER_ISOLATION_HEADER


@dataclass(frozen=True, slots=True)
class IsolationKeys:
    """The keys that the platform sent. Opaque; `None` means that the header was absent, `""` that it was empty.

    Args:
        user: `x-agent-user-id` (protocol 2.0.0), else `x-agent-user-isolation-key` (1.0.0).
        chat: `x-agent-chat-isolation-key` (1.0.0 only).
    """

    user: str | None = None
    chat: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """The owner of stored data.

    Args:
        user: The user's key; `LOCAL_USER` for a host without identities.
        chat: The chat's key under protocol 1.0.0, else `None`.
    """

    user: str
    chat: str | None = None

    def key(self, *parts: str) -> str:
        """A storage key: 64 hexadecimal characters, equal exactly for the same scope and the same parts."""
        return _key(self.user, self.chat, parts)


@lru_cache(maxsize=1024)
def _key(user: str, chat: str | None, parts: tuple[str, ...]) -> str:
    """The key of a record. Cached, because a turn needs that of its response several times."""
    digest = _owner(user, chat).copy()
    for part in parts:
        digest.update(_framed(part))
    return digest.hexdigest()


class _Digest(Protocol):
    def copy(self) -> _Digest: ...

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


@lru_cache(maxsize=256)
def _owner(user: str, chat: str | None) -> _Digest:
    """The hash state that all keys of a scope start with. Copied: a turn needs a key for each history item."""
    return hashlib.sha256(_framed(user) + _framed("-" if chat is None else f"+{chat}"))


def _framed(part: str) -> bytes:
    raw = part.encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(8, "big") + raw


LOCAL_USER: Final = "local"
"""The user of a host that is not hosted and gets no identity."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of a call: passed to every repository method, so that nothing below the drivers reads ambient identity.

    Args:
        scope: The data that the call may access.
        isolation: The identity keys that the platform sent.
        platform_user: `x-agent-user-id`; `None` when the header was absent.
        call_id: `x-agent-foundry-call-id`: the credential handle of this one request, never part of a key.
    """

    scope: Scope = Scope(LOCAL_USER)
    isolation: IsolationKeys = IsolationKeys()
    platform_user: str | None = None
    call_id: str | None = None
    token: str | None = field(default=None, repr=False, compare=False)

    def dump(self) -> dict[str, Any]:
        """The data from which another process can act for this caller; never the call id or the token."""
        return {
            "scope": asdict(self.scope),
            "isolation": asdict(self.isolation),
            "platform_user": self.platform_user,
        }

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Caller:
        """The caller of `dump`, among other fields."""
        return cls(Scope(**value["scope"]), IsolationKeys(**value["isolation"]), platform_user=value["platform_user"])

    def platform_headers(self) -> dict[str, str]:
        """Headers that every call to Foundry on behalf of this caller must carry."""
        return {CALL_ID_HEADER: self.call_id} if self.call_id is not None else {}


def scope_of(keys: IsolationKeys) -> Scope:
    """The scope of the platform's keys; without a user, the local scope."""
    if not keys.user:
        return Scope(LOCAL_USER if keys.user is None else "", keys.chat)
    return Scope(f"user:{keys.user}", keys.chat)


class ScopeResolver(Protocol):
    """Determines the user of a request.

    Concurrency: called once for each request, on the event loop; must not block.

    Raises:
        Unauthenticated: The request needs an identity and has none.
    """

    def __call__(self, headers: Mapping[str, str]) -> tuple[IsolationKeys, Scope]:
        """Resolve the caller from the request's headers: names in lower case, repeated headers joined with `", "`."""
        ...


@runtime_checkable
class TokenResolver(Protocol):
    """A `ScopeResolver` that also knows the caller's token."""

    def token(self, headers: Mapping[str, str]) -> str | None:
        """The token of a request that was resolved; `None` where it has none."""
        ...


class PlatformScopeResolver(Struct, frozen=True, kw_only=True):
    """The default resolver: Foundry's identity headers.

    Args:
        is_hosted: Whether the process runs as a Foundry hosted agent; then a request without a user is refused.
        accepts_protocol_1: Whether a hosted process accepts the headers of protocol 1.0.0. A process that is not
            hosted always does. They are ignored if there is an identity of protocol 2.0.0.
    """

    is_hosted: bool = False
    accepts_protocol_1: bool = False

    def __call__(self, headers: Mapping[str, str]) -> tuple[IsolationKeys, Scope]:
        """Resolve the keys and the scope.

        Raises:
            Unauthenticated: The process is hosted and the request has no user key.
        """
        keys = self._keys(headers)
        if not keys.user and self.is_hosted:
            raise Unauthenticated(f"The platform sent no user identity ({USER_ID_HEADER}).")
        return keys, scope_of(keys)

    def _keys(self, headers: Mapping[str, str]) -> IsolationKeys:
        user = headers.get(USER_ID_HEADER)
        speaks_protocol_2 = user is not None or CALL_ID_HEADER in headers
        if speaks_protocol_2 or (self.is_hosted and not self.accepts_protocol_1):
            return IsolationKeys(user)
        return IsolationKeys(headers.get(USER_ISOLATION_HEADER), headers.get(CHAT_ISOLATION_HEADER))


class HeaderScopeResolver(Struct, frozen=True, kw_only=True):
    """Takes the user from a header that only the proxy in front of the process can set.

    Example:
        ```python
        # Azure Container Apps and App Service with authentication ("Easy Auth").
        AgentHost(agent, resolve_scope=HeaderScopeResolver(header="x-ms-client-principal-id"))
        ```

    Args:
        header: The header's name, in any case.
        token_header: A header in which the same proxy passes the caller's token on, for `OnBehalfOf`;
            `x-ms-token-aad-access-token` with Easy Auth's token store.
    """

    header: str
    token_header: str | None = None

    def __call__(self, headers: Mapping[str, str]) -> tuple[IsolationKeys, Scope]:
        """Resolve the keys and the scope.

        Raises:
            Unauthenticated: The header is absent or empty.
        """
        user = headers.get(self.header.lower())
        if not user:
            raise Unauthenticated(f"The request carries no identity ({self.header}).")
        return IsolationKeys(user), Scope(f"{self.header.lower()}:{user}")

    def token(self, headers: Mapping[str, str]) -> str | None:
        """The caller's token, where the proxy passes it on."""
        return (headers.get(self.token_header.lower()) or None) if self.token_header is not None else None


class RequestContext(Struct):
    """The state of the request being served: the value of the host's one context variable.

    The getters below and in other modules read it. Only the drivers and the engine set it.

    Args:
        request: The `TurnRequest`, once a turn runs.
        resources: The `TurnResources` of its agent, while that is open.
        hosted_history: The `HostedTurn` of `history="session"`.
        effect: Runs a side effect once (`Effects.once`), once a turn runs.
        within: The storage key of the effect that is being performed around the current code.
        log_ids: Ids added to the log records of this package.
        is_request: Whether there is a request; there is none in the app's lifespan and the tasks that it starts.
        store_failed: Whether the response store was not available for this request.
    """

    caller: Caller = Caller()
    request: Any = None
    resources: object = None
    hosted_history: object = None
    effect: Callable[..., Awaitable[Any]] | None = None
    within: str | None = None
    log_ids: Mapping[str, str] | None = None
    is_request: bool = True
    store_failed: bool = False


_context: ContextVar[RequestContext] = ContextVar("hostedagent_request")
_NO_REQUEST: Final = RequestContext()


def current_context(context: Context | None = None) -> RequestContext | None:
    """The context of the request being served, in the current or another `Context`; `None` outside a host."""
    return _context.get(None) if context is None else context.get(_context)


def has_request() -> bool:
    """Whether a request is being served, or was when the current task began."""
    return (context := _context.get(None)) is not None and context.is_request


def enter_context(context: RequestContext) -> Token[RequestContext]:
    """Set the context of the current task and of every task started from it."""
    return _context.set(context)


def leave_context(token: Token[RequestContext]) -> None:
    """Undo `enter_context`."""
    _context.reset(token)


def current_caller() -> Caller:
    """The caller of the request being served; the local one outside a request."""
    return _context.get(_NO_REQUEST).caller


def get_current_isolation_keys() -> IsolationKeys:
    """The isolation keys of the request being served; empty outside a request."""
    return current_caller().isolation


def set_current_isolation_keys(keys: IsolationKeys) -> Token[RequestContext]:
    """Set the isolation keys of the current context; pass the token to `reset_current_isolation_keys`."""
    context = _context.get(_NO_REQUEST)
    return _context.set(structs.replace(context, caller=replace(context.caller, isolation=keys)))


def reset_current_isolation_keys(token: Token[RequestContext]) -> None:
    """Undo `set_current_isolation_keys`."""
    _context.reset(token)
