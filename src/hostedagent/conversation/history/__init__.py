"""History policies: one for each owner of the conversation."""
