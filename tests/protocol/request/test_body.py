"""The body is parsed strictly: what JSON has comes as it is, and nothing else passes."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hostedagent import HostOptions
from hostedagent.errors import InvalidRequest
from hostedagent.protocol.json import decode, encode
from hostedagent.protocol.request.body import parse_body

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=20,
)
NEARLY_JSON = st.text('{}[]",:0123456789.eE+- \n\t\\/udtrfalsn\x00\x7fé\ufeff', max_size=12)


def refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def strictly(text: str) -> Any:
    """What the standard library makes of it, where that is JSON."""

    def finite(number: str) -> float:
        if math.isinf(float(number)):
            refuse(number)
        return float(number)

    value = json.loads(text, parse_constant=refuse, parse_float=finite)
    json.dumps(value, ensure_ascii=False).encode()  # Half a character has no UTF-8 form.
    return value


@given(VALUES, st.booleans())
def test_what_json_has_comes_as_it_is(value: Any, is_ascii: bool) -> None:
    fields = {"metadata": {"value": value}}  # A null in there is a value.
    body = json.dumps(fields, ensure_ascii=is_ascii).encode()

    assert parse_body(body, HostOptions()).fields == fields


@given(NEARLY_JSON)
@example("1e999")
@example("NaN")
@example("-Infinity")
@example("01")
@example('"\n"')
@example("123456789012345678901234567890")
@example('"\\ud800"')
def test_what_is_no_json_does_not_pass(text: str) -> None:
    body = f'{{"metadata": {{"value": {text}}}}}'
    try:
        expected = strictly(body)
    except ValueError:
        with pytest.raises(InvalidRequest, match="not valid JSON"):
            parse_body(body.encode(), HostOptions())
    else:
        assert parse_body(body.encode(), HostOptions()).fields == expected


@given(VALUES | st.text())
@example("half a \ud83d character")
@example({"\udc00": 2**70})
def test_what_is_stored_comes_back_as_it_was(value: Any) -> None:
    assert decode(encode(value)) == value


def test_many_shallow_objects_are_not_deep() -> None:
    options = HostOptions()
    items = [{"role": "user", "content": "hi"}] * (options.max_depth + 1)

    assert len(parse_body(encode({"input": items}), options).fields["input"]) == len(items)
