"""What a webhook accepts, and that others can verify what it signs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from hostedagent import Cancelled, Completed, ConfigurationError, Failed, Hooks, Incomplete, Webhook
from hostedagent.outcomes import Outcome
from hostedagent.webhooks.deliveries import event_of, seconds_of
from tests.webhooks.receiver import OTHER, SECRET

URL = "https://receiver.example/hook?token=secret-4711"
BODY = json.dumps({"type": "response.completed"})


def test_a_receiver_that_has_the_secret_can_verify_a_message() -> None:
    headers = Webhook(URL, secret=SECRET).headers("evt_1", datetime.now(UTC), BODY)
    assert Verifier(SECRET).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Verifier(OTHER).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(BODY + " ", headers)


def test_while_a_secret_changes_both_verify() -> None:
    headers = Webhook(URL, secret=[OTHER, SECRET]).headers("evt_1", datetime.now(UTC), BODY)
    assert Verifier(SECRET).verify(BODY, headers) == Verifier(OTHER).verify(BODY, headers)


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("http://receiver.example/hook", {}),
        ("ftp://receiver.example/hook", {}),
        ("https:///hook", {}),
        ("receiver.example", {}),
        ("https://receiver.example:99999/secret-4711", {}),
        ("https://receiver.example:secret-4711/", {}),
        ("https://receiver..example/secret-4711", {}),
        (f"https://{'long' * 20}.example/secret-4711", {}),
        ("https://[::1/secret-4711", {}),
        (URL, {"secret": "secret-4711"}),
        (URL, {"secret": "whsec_secret-4711!"}),
        (URL, {"secret": "whsec_c2VjcmV0"}),
        (URL, {"secret": []}),
        (URL, {"secret": [SECRET, ""]}),
        (URL, {"timeout": 0}),
        (URL, {"timeout": float("nan")}),
        (URL, {"retry_after": [5, -1]}),
    ],
)
def test_values_that_cannot_work_are_refused_without_repeating_them(url: str, given: dict[str, Any]) -> None:
    values: dict[str, Any] = {"secret": SECRET, **given}
    with pytest.raises(ConfigurationError) as refused:
        Webhook(url, **values)
    assert "secret-4711" not in str(refused.value) and "whsec_c2" not in str(refused.value)


def test_neither_address_nor_secret_is_printed() -> None:
    shown = repr(Hooks(on_outcome=Webhook(URL, secret=SECRET)))
    assert "secret-4711" not in shown and SECRET not in shown


@pytest.mark.parametrize(
    ("outcome", "event"),
    [
        (Completed(), "response.completed"),
        (Incomplete("max_output_tokens"), "response.incomplete"),
        (Failed("server_error", "x"), "response.failed"),
        (Cancelled("shutdown"), "response.failed"),
        (Cancelled("client"), "response.cancelled"),
    ],
)
def test_each_outcome_is_told_as_the_status_that_is_stored(outcome: Outcome, event: str) -> None:
    assert event_of(outcome) == event


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("", 0.0),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("9" * 5_000, 3_600.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("\u0663", 0.0),
        ("soon", 0.0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
        ("Sun Nov  6 08:50:37 1994", 60.0),
        ("Sun, 06 Nov 1994 09:50:37 +0100", 60.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
        ("Sun, 06 Nov 2094 08:50:37 GMT", 3_600.0),
        ("Sun, 06 Nov 99999999999999999999 08:50:37 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:50:37 +9999", 0.0),
    ],
)
def test_a_receiver_asks_for_at_most_an_hour_in_seconds_or_with_a_date(retry_after: str, seconds: float) -> None:
    assert seconds_of(retry_after, datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)) == seconds
