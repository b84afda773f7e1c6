"""HTTP, ASGI and the SDK's host."""
