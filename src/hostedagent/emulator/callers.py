"""Maps call ids to users.

The platform mints a call id for each request and resolves it to a user. Here the id contains the user, so that a test
can mint one for any user: `alice.5f0c…`.
"""

from __future__ import annotations

from urllib.parse import quote, unquote
from uuid import uuid4


def call_id_for(user: str) -> str:
    """Mint a fresh call id for a user, whatever characters the name has."""
    return f"{quote(user, safe='@').replace('.', '%2E')}.{uuid4().hex}"


def user_of(call_id: str) -> str:
    """The user of a call id: the part before the first dot."""
    return unquote(call_id.split(".")[0])
