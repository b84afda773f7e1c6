"""Hosts of hostedagent in the place of the SDK's, for the SDK's own tests: `pytest -p substitute.plugin`."""
