"""The body of a request: bytes to a JSON object, strictly, bounded, and without what only looks like a value.

Strictness is here because a lenient reading breaks something later: a lone surrogate has no UTF-8 form, and NaN is no
JSON. Leniency is in `normalization`, which knows what clients leave out.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass

from hostedagent.errors import InvalidRequest
from hostedagent.options import HostOptions
from hostedagent.protocol.json import decode_strictly
from hostedagent.protocol.request.limits import check_counts, check_structure, too_deep
from hostedagent.protocol.request.normalization import normalize_body
from hostedagent.protocol.types import Json
from hostedagent.protocol.values import is_object


@dataclass(frozen=True, slots=True)
class RequestBody:
    """A parsed body.

    Args:
        raw: The bytes that say exactly the same, when the caller's do.
    """

    fields: Mapping[str, Json]
    raw: bytes | None = None


def parse_body(body: bytes, options: HostOptions) -> RequestBody:
    """Parse, bound and normalize a JSON object.

    Raises:
        InvalidRequest: As for `parse_object`.
    """
    payload, has_nulls = _parsed(body, options)
    normal = normalize_body(payload, has_nulls=has_nulls)
    return RequestBody(normal, body if normal is payload else None)


def parse_object(body: bytes, options: HostOptions) -> Mapping[str, Json]:
    """Parse and bound a JSON object, and leave it as it is.

    Raises:
        InvalidRequest: It is not UTF-8 JSON, not an object, holds NaN, infinity or a lone surrogate, or exceeds one of
            the limits in `options`.
    """
    return _parsed(body, options)[0]


def _parsed(body: bytes, options: HostOptions) -> tuple[Mapping[str, Json], bool]:
    """The object, and whether a field in it is null."""
    try:
        payload: Json = decode_strictly(body.removeprefix(codecs.BOM_UTF8))
    except RecursionError:
        raise too_deep(options) from None
    except ValueError:
        raise InvalidRequest(
            "The request body is not valid JSON in UTF-8; NaN, infinity and lone surrogates are refused too."
        ) from None
    if not is_object(payload):
        raise InvalidRequest("The request body must be a JSON object.")
    has_nulls = check_structure(payload, options)
    check_counts(payload, options)
    return payload, has_nulls
