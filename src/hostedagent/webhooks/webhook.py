"""A webhook: its receiver, the signature of messages, and the schedule of attempts."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from hostedagent.errors import ConfigurationError

RETRY_SECONDS: Final = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""The schedule that Standard Webhooks recommends: ten attempts within three days."""

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_LEAST_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Webhook:
    """Reports the outcome of each turn to a receiver: `Hooks(on_outcome=Webhook("https://...", secret="whsec_..."))`.

    Each turn leads to one POST, signed according to [Standard Webhooks](https://www.standardwebhooks.com), with the
    body of OpenAI's webhooks: `{"id": "evt_...", "object": "event", "type": "response.completed", "created_at":
    1700000000, "data": {"id": "resp_..."}}`. The other types are `response.incomplete`, `response.failed` and
    `response.cancelled`. It contains no content. A status of 2xx is a success; redirects are not followed; 410 ends the
    attempts.

    Delivery is at least once, in any order, with the same `webhook-id` for each attempt. Pending messages are kept in
    the stores, and any replica sends them; with `memory_stores()` and `foundry_stores()` they end with the process.
    Needs the extra `webhooks`.

    Args:
        url: The receiver; `https`, or `http` on loopback. Never taken from a request.
        secret: The secret that signs, `whsec_` and at least 24 bytes in base64; or several, newest first, while
            receivers change from one to the next.
        timeout: Seconds that an attempt may take.
        retry_after: Seconds before each further attempt. A message is given up after the last one.

    Raises:
        ConfigurationError: A value is invalid, or the extra is not installed.
    """

    url: str = field(repr=False)  # It may contain a token.
    secret: str | Sequence[str] = field(repr=False, kw_only=True)
    timeout: float = field(default=10.0, kw_only=True)
    retry_after: Sequence[float] = field(default=RETRY_SECONDS, kw_only=True)
    _signers: Sequence[Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            _ = parts.port, (parts.hostname or "").encode("idna")
        except ValueError:  # Without its text, which repeats part of the URL.
            raise ConfigurationError("Webhook(url) has an invalid host or port.") from None
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ConfigurationError("Webhook(url) must be an https URL, or http on this machine.")
        if not parts.hostname:
            raise ConfigurationError("Webhook(url) names no host.")
        if not (self.timeout > 0 and all(seconds >= 0 for seconds in self.retry_after)):
            raise ConfigurationError("Webhook(timeout=..., retry_after=...) takes seconds: write positive numbers.")
        object.__setattr__(self, "_signers", _signers(self.secret))

    def __call__(self, request: object, outcome: object, /) -> NoReturn:
        """Always raises: hosts send a webhook through their stores instead of calling it.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError("A Webhook is sent by a host: pass it as Hooks(on_outcome=Webhook(...)).")

    @property
    def host(self) -> str:
        """The host of the receiver, for logs."""
        return urlsplit(self.url).hostname or ""

    def headers(self, message_id: str, at: datetime, body: str) -> dict[str, str]:
        """The headers that sign a message: one signature for each secret."""
        at = at.astimezone(UTC)
        signatures = [signer.sign(message_id, at, body) for signer in self._signers]
        return {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(signatures),
        }


def _signers(secret: str | Sequence[str]) -> list[Any]:
    try:
        from standardwebhooks.webhooks import Webhook as Signer
    except ImportError as error:
        raise ConfigurationError("Webhooks need one more package: pip install standardwebhooks") from error
    secrets = [secret] if isinstance(secret, str) else list(secret)
    if not secrets or not all(_is_secret(value) for value in secrets):
        # Without the value.
        raise ConfigurationError(
            f"Webhook(secret=...) takes 'whsec_' and at least {_LEAST_BYTES} bytes in base64, or several of them."
        )
    return [Signer(value) for value in secrets]


def _is_secret(value: object) -> bool:
    if not isinstance(value, str) or not value.startswith("whsec_"):
        return False
    try:
        return len(b64decode(value.removeprefix("whsec_"), validate=True)) >= _LEAST_BYTES
    except ValueError:
        return False
