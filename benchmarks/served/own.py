"""`hostedagent` on its own routes, without the SDK."""

from __future__ import annotations

from ours import serve

if __name__ == "__main__":
    serve("starlette")
