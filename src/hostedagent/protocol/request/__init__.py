"""A request body, parsed and validated once."""
