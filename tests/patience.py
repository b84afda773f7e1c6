"""How long tests wait for what must happen: long enough for any machine, and never what a test measures."""

from typing import Final

PATIENCE: Final = 240.0
"""Seconds after which what a test waits for has failed to come. A test that passes never waits that long."""


def be_patient() -> None:
    """Let this process wait for turns that it resumes, and for hooks, for as long as a busy machine needs."""
    from hostedagent.engine import active, hooks

    for module, name in ((active, "BEGIN_SECONDS"), (hooks, "OUTCOME_SECONDS")):
        assert hasattr(module, name)
        setattr(module, name, PATIENCE)
