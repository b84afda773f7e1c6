"""CORS: the origins whose pages may call the host from a browser and read its responses."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from starlette.middleware.cors import CORSMiddleware

from hostedagent.platform import SESSION_ID_HEADER

if TYPE_CHECKING:
    from starlette.applications import Starlette

ANY: Final = "*"

_EXPOSED: Final = ("x-request-id", SESSION_ID_HEADER, "x-platform-server", "x-platform-error-source", "retry-after")
"""Headers of an answer that a page may read beside the usual ones."""

_METHODS: Final = ("GET", "POST", "DELETE")


def add_cors(app: Starlette, origins: Collection[str]) -> None:
    """Answer preflights and let pages of some origins read responses; does nothing without origins.

    A page may send cookies only if its origin is named: with `*`, any page could use those of its visitor.
    """
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(origins),
            allow_methods=_METHODS,
            allow_headers=["*"],
            allow_credentials=ANY not in origins,
            expose_headers=_EXPOSED,
        )
