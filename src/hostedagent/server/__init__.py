"""All that knows HTTP, ASGI or the SDK's host."""
