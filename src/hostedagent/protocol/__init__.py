"""The Responses protocol as pure functions, without I/O."""
