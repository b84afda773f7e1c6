"""The wire, where the SDK leaves something to complete."""
