"""Who keeps the conversation: one policy for each owner."""
