from tests.host.world import writes

__all__ = ["writes"]
