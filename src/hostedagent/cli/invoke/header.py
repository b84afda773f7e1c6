"""Headers that the user adds to what is sent, written as curl takes them: `name: value`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from multidict import CIMultiDict

Header: TypeAlias = tuple[str, str]

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def header(text: str) -> Header:
    """The type of an option `--header`.

    Raises:
        argparse.ArgumentTypeError: It is no header.
    """
    name, colon, value = text.partition(":")
    if not colon or not _NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(f'{text!r} is no header: write "name: value"')
    if _CONTROL.search(value):
        raise argparse.ArgumentTypeError(f"the value of {name!r} has a line break or another control character")
    return name, value.strip()


def joined(own: Mapping[str, str], added: Iterable[Header]) -> CIMultiDict[str]:
    """What is sent: the headers that were added, and those of its own that have other names."""
    from multidict import CIMultiDict

    added = list(added)
    sent = CIMultiDict(own)
    for name, _ in added:
        sent.popall(name, None)
    for name, value in added:
        sent.add(name, value)
    return sent
