import pytest

from hostedagent.engine import event_writer, takeover, waiting
from hostedagent.stores import retry


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas look for work, and try again, without a pause."""
    monkeypatch.setattr(takeover, "WATCH_SECONDS", 0.001)
    monkeypatch.setattr(waiting, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(waiting, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(event_writer, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(retry, "RETRY_SECONDS", 0.0)
