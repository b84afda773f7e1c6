"""One turn, from an accepted request to its outcome."""
