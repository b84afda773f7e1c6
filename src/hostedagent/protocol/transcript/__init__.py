"""Items to Agent Framework messages, and back."""
