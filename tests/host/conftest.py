from tests.host.specification import specification
from tests.host.world import writes

__all__ = ["specification", "writes"]
