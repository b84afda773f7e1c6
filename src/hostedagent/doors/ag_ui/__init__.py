"""AG-UI: the protocol of front ends such as CopilotKit and assistant-ui, with its own types and encoder."""
