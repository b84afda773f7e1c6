"""What a turn continues, and what later turns need of it."""
