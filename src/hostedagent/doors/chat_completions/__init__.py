"""Chat Completions, for clients that speak nothing newer."""
