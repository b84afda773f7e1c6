"""The Open Responses specification as a judge of payloads, and the table of fields that stands without its file."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

FILE = Path(__file__).parents[3] / "shared" / "data" / "open-responses" / "openapi-2026-04.json"

SPECIFIED_ITEMS = ("message", "function_call", "function_call_output", "reasoning")

REQUIRED: Mapping[str, tuple[type, ...]] = {
    "id": (str,),
    "object": (str,),
    "created_at": (int,),
    "completed_at": (int, type(None)),
    "status": (str,),
    "incomplete_details": (dict, type(None)),
    "model": (str,),
    "previous_response_id": (str, type(None)),
    "instructions": (str, type(None)),
    "output": (list,),
    "error": (dict, type(None)),
    "tools": (list,),
    "tool_choice": (str, dict),
    "truncation": (str,),
    "parallel_tool_calls": (bool,),
    "text": (dict,),
    "top_p": (float, int),
    "presence_penalty": (float, int),
    "frequency_penalty": (float, int),
    "top_logprobs": (int,),
    "temperature": (float, int),
    "reasoning": (dict, type(None)),
    "usage": (dict, type(None)),
    "max_output_tokens": (int, type(None)),
    "max_tool_calls": (int, type(None)),
    "store": (bool,),
    "background": (bool,),
    "service_tier": (str,),
    "metadata": (dict,),
    "safety_identifier": (str, type(None)),
    "prompt_cache_key": (str, type(None)),
}
"""Every field that `ResponseResource` requires, and what may stand in it."""


def assert_complete(response: Mapping[str, Any]) -> None:
    """Check a response object by the table."""
    missing = sorted(set(REQUIRED) - set(response))
    assert not missing, f"missing: {missing}"
    wrong = {name: response[name] for name, kinds in REQUIRED.items() if type(response[name]) not in kinds}
    assert not wrong, f"of a wrong type: {wrong}"


class Specification:
    """Validates with the schemas of the specification's file."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.schemas: dict[str, Any] = document["components"]["schemas"]
        # The published schema of an answered JSON format admits no schema but null.
        self.schemas["JsonSchemaResponseFormat"]["properties"]["schema"] = {"type": ["object", "null"]}
        self._events: dict[str, str] = {
            schema["properties"]["type"]["enum"][0]: name
            for name, schema in self.schemas.items()
            if name.endswith("StreamingEvent")
        }
        self.required: list[str] = self.schemas["ResponseResource"]["required"]

    @cache  # noqa: B019 - one object for the whole run
    def _validator(self, name: str) -> Draft202012Validator:
        return Draft202012Validator({"$ref": f"#/components/schemas/{name}", **self._document})

    def check(self, name: str, value: Any) -> None:
        validator: Any = self._validator(name)
        errors = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
        shown = [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in errors]
        assert not errors, f"{name}: " + "; ".join(shown)

    def check_response(self, response: Mapping[str, Any]) -> None:
        """A response; items of types that the specification does not know are extensions."""
        extensions = [item for item in response["output"] if item["type"] not in SPECIFIED_ITEMS]
        for item in extensions:
            assert isinstance(item["type"], str) and isinstance(item["id"], str)
        known = [item for item in response["output"] if item["type"] in SPECIFIED_ITEMS]
        self.check("ResponseResource", {**response, "output": known})

    def check_event(self, event: Mapping[str, Any]) -> None:
        """An event; types that the specification does not know are extensions."""
        assert isinstance(event["type"], str) and isinstance(event["sequence_number"], int)
        name = self._events.get(event["type"])
        item = event.get("item")
        if name is None or (item is not None and item["type"] not in SPECIFIED_ITEMS):
            return
        if "response" in event:
            self.check_response(event["response"])
            event = {**event, "response": {**event["response"], "output": []}}
        self.check(name, event)


@cache
def _specification() -> Specification | None:
    return Specification(json.loads(FILE.read_text())) if FILE.exists() else None


@pytest.fixture
def specification() -> Specification:
    """The specification's schemas; skips where the file is missing."""
    found = _specification()
    if found is None:
        pytest.skip(
            "needs ../shared/data/open-responses, the OpenAPI document, from github.com/openresponses/openresponses"
        )
    return found
