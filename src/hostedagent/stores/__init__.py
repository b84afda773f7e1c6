"""Stores of responses and of the state of conversations."""
