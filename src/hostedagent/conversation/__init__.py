"""The state of conversations: what a turn continues, and what it stores for later turns."""
