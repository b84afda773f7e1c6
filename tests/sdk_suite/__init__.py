"""The SDK's own tests on our hosts: `uv run python -m tests.sdk_suite`."""
