"""The request: parsed once, read deep, turned into the arguments of a run."""
