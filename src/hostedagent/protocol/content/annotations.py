"""Citations: converts between Agent Framework annotations and those of an `output_text` part.

Agent Framework has one shape for all of them; the Responses type is inferred from the fields that are set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from agent_framework import Annotation, TextSpanRegion

from hostedagent.protocol.types import Json
from hostedagent.protocol.values import fields_of, is_mapping, objects_of

WireAnnotation = dict[str, Json]


def wire_annotations(annotations: Sequence[Annotation], text_length: int) -> Iterator[WireAnnotation]:
    """Write annotations; one with several regions becomes one for each region.

    An annotation without a region covers the `text_length` characters before it.
    """
    for annotation in annotations:
        try:
            written = _written(annotation, text_length) if isinstance(cast("object", annotation), dict) else []
        except Exception:  # noqa: BLE001 - a model client may put anything there; the text is sent without it
            continue
        yield from written


def _written(annotation: Annotation, text_length: int) -> list[WireAnnotation]:
    spans = [
        (_position(region.get("start_index"), 0), _position(region.get("end_index"), text_length))
        for region in annotation.get("annotated_regions") or ()
        if isinstance(cast("object", region), dict)
    ]
    return [_wire(annotation, start, end) for start, end in spans or [(0, text_length)]]


def _position(value: object, default: int) -> int:
    return value if type(value) is int else default


def _wire(annotation: Annotation, start: int, end: int) -> WireAnnotation:
    extra = fields_of(annotation.get("additional_properties"))
    if is_mapping(unknown := extra.get("wire")):
        return dict(unknown)
    file_id, name, title = annotation.get("file_id"), annotation.get("url"), annotation.get("title")
    if file_id and (container := extra.get("container_id")):
        return {
            "type": "container_file_citation",
            "container_id": container,
            "file_id": file_id,
            "filename": name or title or file_id,
            "start_index": start,
            "end_index": end,
        }
    index = known if isinstance(known := extra.get("index"), int) else end
    if file_id and (name or title):
        return {"type": "file_citation", "file_id": file_id, "filename": name or title, "index": index}
    if file_id:
        return {"type": "file_path", "file_id": file_id, "index": index}
    return {
        "type": "url_citation",
        "url": name or "",
        "title": title or annotation.get("snippet") or name or "",
        "start_index": start,
        "end_index": end,
    }


def read_annotations(annotations: object) -> list[Annotation] | None:
    """Read the annotations of an `output_text` part; unknown types are kept in `additional_properties`."""
    if not annotations:
        return None
    return [_read(wire) for wire in objects_of(annotations) if not _holds_a_file(wire)] or None


def _holds_a_file(wire: Mapping[str, Json]) -> bool:
    """Whether the link is a data URL (see `files.py`), which model clients would send as part of a citation."""
    return str(wire.get("url", "")).startswith("data:")


def _read(wire: Mapping[str, Json]) -> Annotation:
    kind = wire.get("type")
    annotation = Annotation(type="citation")
    extra: dict[str, Json] = {}
    if kind in ("container_file_citation", "file_citation", "file_path"):
        annotation["file_id"] = str(wire.get("file_id", ""))
        if wire.get("filename"):
            annotation["url"] = str(wire["filename"])
        extra = {key: wire[key] for key in ("container_id", "index") if key in wire}
    elif kind == "url_citation":
        annotation["url"] = str(wire.get("url", ""))
        annotation["title"] = str(wire.get("title", ""))
    else:
        extra = {"wire": dict(wire)}
    if isinstance(wire.get("start_index"), int) and isinstance(wire.get("end_index"), int):
        span = TextSpanRegion(type="text_span", start_index=wire["start_index"], end_index=wire["end_index"])
        annotation["annotated_regions"] = [span]
    if extra:
        annotation["additional_properties"] = extra
    return annotation
