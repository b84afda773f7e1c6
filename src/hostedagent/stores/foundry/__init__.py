"""Foundry as a backend: its state stores and its response storage."""
