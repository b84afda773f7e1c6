"""Headers that the user adds to a request, written as for curl: `name: value`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import click

Header: TypeAlias = tuple[str, str]

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def header(text: str) -> Header:
    """Parse the value of an option `--header`."""
    name, colon, value = text.partition(":")
    if not colon or not _NAME.fullmatch(name):
        raise click.BadParameter(f'{text!r} is not a header: write "name: value".')
    if _CONTROL.search(value):
        raise click.BadParameter(f"the value of {name!r} has a line break or another control character.")
    return name, value.strip()


def joined(own: Mapping[str, str], added: Iterable[Header]) -> list[Header]:
    """The headers to send: the user's, and the command's own unless overridden."""
    added = list(added)
    replaced = {name.lower() for name, _ in added}
    return [*((name, value) for name, value in own.items() if name.lower() not in replaced), *added]
