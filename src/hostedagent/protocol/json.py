"""Encodes and decodes JSON bytes with msgspec, which Agent Framework depends on, faster than the standard library.

If msgspec refuses a value, the standard library decides: a Python string may contain a lone surrogate, which UTF-8
cannot represent but a JSON escape can.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder()


def encode(value: object) -> bytes:
    """Compact JSON in UTF-8; a lone surrogate as an escape, NaN and infinity as null.

    Raises:
        TypeError: It contains a type that JSON does not have.
    """
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def decode(data: bytes) -> Any:
    """The value of JSON in UTF-8, as leniently as the standard library parses it.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return decode_strictly(data)
    except ValueError:
        return json.loads(data)


def decode_text(text: str) -> Any:
    """The value of JSON that somebody wrote into a text.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("It is nested too deeply.") from error


def decode_strictly(data: bytes) -> Any:
    """The value of strict JSON in UTF-8, without NaN, infinity and lone surrogates.

    Raises:
        ValueError: It is not strict JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:  # No ValueError before msgspec 0.21.
        raise ValueError(str(error)) from error


def is_whole(text: object) -> bool:
    """Whether `text` is one complete JSON value, which every parser reads: NaN and infinity are not JSON."""
    if not isinstance(text, str):
        return False
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")
