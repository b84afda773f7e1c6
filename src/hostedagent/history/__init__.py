"""Who keeps the conversation: exactly one owner, asked once before a run and told once after it."""
