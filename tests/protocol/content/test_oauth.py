"""Consent: only links that are safe to show leave, and the turn ends with them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from agent_framework import Content
from hypothesis import given
from hypothesis import strategies as st

from hostedagent.errors import InvalidRequest
from hostedagent.failures import failed
from hostedagent.options import HostOptions
from hostedagent.outcomes import Incomplete
from hostedagent.protocol.content import Output
from hostedagent.protocol.content.oauth import is_safe_link
from hostedagent.protocol.stream.builder import Projection
from hostedagent.protocol.stream.response import ResponseBuilder
from hostedagent.protocol.types import Emission, EndTurn
from tests.protocol.content.harness import RESPONSE_ID, project, read, update
from tests.protocol.content.wire import bare

LINK = "https://login.example/consent?code=s3cret"
ASKED: dict[str, Any] = {"type": "oauth_consent_request", "consent_link": LINK, "server_label": "docs"}


def consent(link: str = LINK, **fields: Any) -> Content:
    return Content.from_oauth_consent_request(link, **fields)


def labelled() -> Content:
    return consent(additional_properties={"server_label": "docs"})


def emissions(content: Content, origins: frozenset[str] | None = None) -> list[Emission]:
    builder = ResponseBuilder(RESPONSE_ID)
    return list(Projection(Output(builder, consent_origins=origins, consent="item")).update(update(content)))


def test_what_is_read_tells_the_model_of_the_question_and_not_the_link() -> None:
    (content,) = read({**ASKED, "id": "oauth_1"})
    assert content.text == "[oauth_consent_request: the user was asked for consent to use docs]"


def test_a_request_without_a_server_is_read_too() -> None:
    (content,) = read({**ASKED, "server_label": ""})
    assert content.text == "[oauth_consent_request: the user was asked for consent to use a tool]"


def test_a_malformed_item_is_refused_with_the_place() -> None:
    with pytest.raises(InvalidRequest) as refused:
        read({"type": "oauth_consent_request", "consent_link": LINK})
    assert refused.value.param == "server_label"


@pytest.mark.parametrize(
    ("content", "label"),
    [
        (labelled(), "docs"),
        (consent(raw_representation=SimpleNamespace(server_label="docs")), "docs"),
        (consent(raw_representation={"server_label": "docs"}), "docs"),
        (consent(), ""),
    ],
)
def test_the_link_is_an_item(content: Content, label: str) -> None:
    (stored,) = project([content], consent="item").items
    assert bare(stored) == {**ASKED, "server_label": label}


def test_the_model_reads_of_a_link_that_was_sent_as_a_message_only_that_it_was_asked() -> None:
    (said,) = project([labelled()], consent="message").items
    (content,) = read(said)
    assert said["content"][0]["text"] == (
        f'docs needs your consent. Open this link, then send any message, such as "done": {LINK}'
    )
    assert content.text == "[oauth_consent_request: the user was asked for consent to use docs]"


def test_the_turn_ends_when_the_link_has_left() -> None:
    added, done, end = emissions(labelled())
    assert isinstance(added, dict) and isinstance(done, dict)
    assert [added["type"], done["type"]] == ["response.output_item.added", "response.output_item.done"]
    assert end == EndTurn(Incomplete("consent_required"))


UNSAFE = [
    "",
    "http://login.example/",
    "javascript:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "//login.example/",
    "https://",
    "https://user@login.example/",
    "https://login.example\\@evil.example/",
    "https://login.example/\nx",
    "https://login.example/ x",
    "https://[::1",
    "https://login.example:port/",
    "https://login.example:0/",
    "https://login_page.example/",
    "https://-login.example/",
    "https://login-.example/",
    "https://login..example/",
    "https://.login.example/",
    "https://login.example./",
    "https://login%2eexample/",
    "https://login.example;evil.example/",
    "https://login*.example/",
    "https://lo<gin.example/",
    f"https://{'a' * 64}.example/",
    "https://lоgin.example/",  # noqa: RUF001 - the point is the Cyrillic letter
    "http://localhost.evil.example/",
]


@pytest.mark.parametrize("link", UNSAFE)
def test_a_link_that_is_not_safe_fails_the_turn_and_stays_here(link: str) -> None:
    assert emissions(consent(link)) == [EndTurn(failed("server_error"))]


@pytest.mark.parametrize("link", ["http://localhost:8080/a", "http://127.0.0.1/a", "http://[::1]/a", LINK])
def test_links_to_this_machine_may_do_without_https(link: str) -> None:
    assert is_safe_link(link, None)


@pytest.mark.parametrize(
    ("link", "origin", "is_safe"),
    [
        (LINK, "https://login.example", True),
        (LINK, "https://login.example:443", True),
        (LINK, "https://LOGIN.example/", True),
        ("https://login.example:444/", "https://login.example", False),
        ("https://login.example.evil.example/", "https://login.example", False),
        ("https://evil.example/https://login.example", "https://login.example", False),
        ("http://localhost/", "https://localhost", False),
    ],
)
def test_with_a_list_only_its_origins_are_safe(link: str, origin: str, is_safe: bool) -> None:
    assert is_safe_link(link, frozenset({origin, "https://other.example"})) is is_safe
    assert (len(emissions(consent(link), frozenset({origin}))) == 3) is is_safe


@pytest.mark.parametrize(
    ("link", "is_safe"),
    [
        ("https://eastus.login.example/consent", True),
        ("https://a.b.login.example/consent", True),
        ("https://EASTUS.login.example:443/", True),
        ("https://login.example/", False),
        ("https://.login.example/", False),
        ("https://eastus.login.example.evil.example/", False),
        ("https://evillogin.example/", False),
        ("https://eastus.login.example:8443/", False),
        ("http://eastus.login.example/", False),
        ("https://*.login.example@evil.example/", False),
    ],
)
def test_a_star_stands_for_the_hosts_below_a_domain(link: str, is_safe: bool) -> None:
    assert is_safe_link(link, frozenset({"https://*.login.example"})) is is_safe


@pytest.mark.parametrize(
    ("link", "is_safe"),
    [
        ("https://logic-apis-eastus2.consent.azure-apim.net/login?data=x", True),
        ("https://logic-swedencentral-001.consent.azure-apihub.net/login?data=x", True),
        ("https://consent.azure-apim.net.evil.example/login", False),
        (LINK, False),
    ],
)
def test_by_default_only_the_links_of_foundrys_connections_are_safe(link: str, is_safe: bool) -> None:
    assert is_safe_link(link, HostOptions().consent_origins) is is_safe


def test_the_log_says_where_a_refused_link_leads_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    emissions(consent(LINK), frozenset({"https://other.example"}))
    assert "https://login.example:443" in caplog.text and "consent_origins" in caplog.text
    assert "s3cret" not in caplog.text


def test_an_empty_list_allows_no_link() -> None:
    assert not is_safe_link(LINK, frozenset())


@given(st.text())
def test_no_text_breaks_the_check_and_no_unsafe_one_leaves(link: str) -> None:
    out = emissions(consent(link))
    assert len(out) == 1 or link.startswith(("https://", "http://"))


@given(st.text("abc/?=&%", max_size=30))
def test_a_safe_link_leaves_as_it_is(path: str) -> None:
    (stored,) = project([consent(f"https://login.example/{path}")], consent="item").items
    assert stored["consent_link"] == f"https://login.example/{path}"
