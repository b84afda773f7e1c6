"""The Responses protocol, pure: no waiting, no I/O."""
