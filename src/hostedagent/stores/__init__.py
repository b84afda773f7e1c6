"""Where things are kept: responses, and the small state that belongs to conversations."""
