"""Webhooks: signed messages that tell a receiver of the operator how turns ended, delivered at least once."""
