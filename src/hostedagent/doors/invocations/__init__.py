"""The Invocations protocol of Foundry, whose bodies are the application's own JSON."""
