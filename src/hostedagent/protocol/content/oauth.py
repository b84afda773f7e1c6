"""Consent: a tool needs the user to sign in first. The link is sent, and the turn ends until the user continues it.

An unsafe link is never sent: the turn fails instead, without naming the link.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from agent_framework import Content

from hostedagent.failures import failed
from hostedagent.outcomes import Completed, Incomplete
from hostedagent.protocol.checks import required_text
from hostedagent.protocol.content.calls import raw_text
from hostedagent.protocol.content.codec import COMPLETED, Codec, Key, OpenItem, Output, Part
from hostedagent.protocol.content.text import OpenText
from hostedagent.protocol.types import Emission, EndTurn, Item, MutableItem

logger = logging.getLogger(__name__)

_Origin: TypeAlias = tuple[str, str | None, int | None]

_LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
"""Host names that browsers, proxies and this module parse in the same way."""

_PORTS: Final[Mapping[str, int]] = {"https": 443, "http": 80}


def read(item: Item) -> Sequence[Content]:
    """Tell the model that the user was asked, without the link, which may contain a secret and was used."""
    label = required_text(item, "server_label", may_be_empty=True)
    return [Content.from_text(asked_for(label))]


def asked_for(label: str) -> str:
    """The text of a consent request for the model."""
    return f"[oauth_consent_request: the user was asked for consent to use {label or 'a tool'}]"


def key(part: Part) -> Key:
    """Each consent request is an item of its own."""
    return ("oauth", part.content.consent_link or "")


def is_safe_link(link: str, origins: frozenset[str] | None) -> bool:
    """Whether a client may offer `link` to its user.

    Args:
        origins: The only origins allowed, as `scheme://host[:port]`, where a host that begins with `*.` stands for
            every host below it; `None` allows every one.
    """
    if not link.isascii() or not link.isprintable() or " " in link or "\\" in link:
        return False
    try:
        parts = urlsplit(link)
        origin = _origin(parts)
        is_allowed = origins is None or any(_covers(_origin(urlsplit(allowed)), origin) for allowed in origins)
        has_credentials = parts.username is not None or parts.password is not None
        is_local = parts.hostname in _LOCAL_HOSTS
        is_trusted = parts.scheme == "https" or (parts.scheme == "http" and is_local)
        is_host = is_local or _HOST.fullmatch(parts.hostname or "") is not None
        return is_allowed and is_trusted and is_host and parts.port != 0 and not has_credentials
    except ValueError:
        return False


def _covers(allowed: _Origin, origin: _Origin) -> bool:
    (scheme, host, port), (its_scheme, its_host, its_port) = allowed, origin
    if (scheme, port) != (its_scheme, its_port) or host is None or its_host is None:
        return False
    return its_host.endswith(host[1:]) and len(its_host) >= len(host) if host.startswith("*.") else host == its_host


def _origin(parts: SplitResult) -> _Origin:
    return (parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme))


class OpenConsent(OpenItem):
    """A consent request, which arrives whole."""

    def __init__(self, part: Part, output: Output) -> None:
        super().__init__(part, output)
        self.is_closed = True

    def append(self, part: Part) -> Iterator[Emission]:
        """Send the link and end the turn."""
        content = part.content
        link = content.consent_link or ""
        if not is_safe_link(link, self.output.consent_origins):
            logger.error(
                "A tool asked to send the user to %s, which is not allowed, so the turn fails. Safe are https links "
                "whose origin is one of HostOptions.consent_origins.",
                _shown_origin(link),
            )
            yield EndTurn(failed("server_error"))
            return
        for call in self.output.own_calls:
            yield from call.show()  # The call that needs consent comes first.
        label = _server_label(content)
        if self.output.consent == "message":
            yield from self._say(part, link, label)
            return
        item = self.output.item("oauth", part)
        wire: MutableItem = {"type": "oauth_consent_request", "consent_link": link, "server_label": label}
        yield item.added(dict(wire))
        yield item.done(wire)
        yield EndTurn(Incomplete("consent_required"))

    def _say(self, part: Part, link: str, label: str) -> Iterator[Emission]:
        """Send the link as a message that the model will not read."""
        who = label or "A tool"
        text = f'{who} needs your consent. Open this link, then send any message, such as "done": {link}'
        said = part._replace(content=Content.from_text(text), replaces=False)
        message = OpenText(said, self.output)
        yield from message.append(said)
        message.opened.remember(stands_for=asked_for(label))
        yield from message.close(COMPLETED)
        yield EndTurn(Completed())


def _shown_origin(link: str) -> str:
    """The part of a link that contains no secret."""
    try:
        scheme, host, port = _origin(urlsplit(link))
    except ValueError:
        return "a link that cannot be read"
    return ascii(f"{scheme}://{host}:{port}")[1:-1]


def _server_label(content: Content) -> str:
    label: object = content.additional_properties.get("server_label") or content.server_name
    return label if isinstance(label, str) else raw_text(content, "server_label")


OAUTH = Codec(
    family="oauth",
    content_types=("oauth_consent_request",),
    item_types={"oauth_consent_request": "assistant"},
    read=read,
    open=OpenConsent,
    key=key,
    absent={"stream": "A link is usable only when it is complete."},
    limits=(
        "A response that asks for consent ends `incomplete` with the reason `consent_required`; the caller continues "
        "it after the user has agreed, and the agent calls the tool again. Most clients do not know the item "
        '([Clients](clients.md), "Consent item"); `HostOptions(consent="message")` sends the link as a message.',
        "A link is sent only if it is https, or http to this machine, and its origin is one of "
        "`HostOptions.consent_origins`; any other link fails the turn.",
        "A turn asks for one consent at a time.",
        "The model sees that consent was requested, but not the link.",
    ),
)
