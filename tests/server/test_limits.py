"""The limits of a server: what they are, and how many connections the descriptors allow."""

from __future__ import annotations

import resource

import pytest

from hostedagent.server.limits import ConnectionLimits, raise_descriptors

INFINITE = resource.RLIM_INFINITY


def limited(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> None:
    def limits(_: int) -> tuple[int, int]:
        return soft, hard

    monkeypatch.setattr(resource, "getrlimit", limits)


def test_the_limits_are_as_documented() -> None:
    limits = ConnectionLimits()

    assert (limits.head_timeout, limits.body_timeout, limits.max_connections) == (20.0, 120.0, None)


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "allowed"),
    [
        (1_024, 4_096, 4_096, 4_096),
        (1_024, 1_048_576, 65_536, 65_536),
        (1_024, INFINITE, 65_536, 65_536),
        (4_096, 4_096, None, 4_096),
        (100_000, 1_048_576, None, 100_000),
        (INFINITE, INFINITE, None, 65_536),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_is_allowed_and_useful(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int | None, allowed: int
) -> None:
    changed: list[int] = []

    def change(_: int, limits: tuple[int, int]) -> None:
        changed.append(limits[0])

    limited(monkeypatch, soft, hard)
    monkeypatch.setattr(resource, "setrlimit", change)

    assert raise_descriptors() == allowed
    assert changed == ([] if raised is None else [raised])


def test_a_limit_that_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    limited(monkeypatch, 256, 4_096)
    monkeypatch.setattr(resource, "setrlimit", refuse)

    assert raise_descriptors() == 256
    assert ConnectionLimits().connections() == 16, "some connections are always allowed"


@pytest.mark.parametrize(("wanted", "expected"), [(None, 640), (100, 100), (10_000, 640)])
def test_no_more_connections_than_descriptors_beside_those_of_the_process(
    monkeypatch: pytest.MonkeyPatch, wanted: int | None, expected: int
) -> None:
    limited(monkeypatch, 1_024, 1_024)

    assert ConnectionLimits(max_connections=wanted).connections() == expected
