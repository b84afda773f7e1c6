"""The emulator as a server on loopback with TLS, and the settings that a process needs to reach it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self
from uuid import uuid4

from aiohttp import web

from hostedagent.platform import ENDPOINT_VARIABLE, HOSTING_VARIABLE

from .app import IDENTITY_PATH, PROJECT_PATH, Anonymous, Api
from .callers import user_of
from .certificate import Certificate, issue, trust_in_process
from .credential import EmulatorCredential
from .faults import Faults
from .request_log import RequestLog
from .responses import ResponseStorage
from .routes import Storage
from .state import StateStorage

LOOPBACK = "127.0.0.1"
_FAREWELL_SECONDS = 0.05
_NOT_RUNNING = "the emulator is not running: use it as `async with Emulator() as emulator`"


class Emulator:
    """A Foundry storage API on loopback: `async with Emulator() as emulator`.

    It listens on 127.0.0.1 only. At the end of the block, hanging requests are cut off and connections are refused.
    Entering it again simulates the end of an outage: the port and the stored data are the same.

    Attributes:
        faults: The armed faults; can be changed at any time.
        log: The received requests.
        credential: A credential that both storage classes of the SDK accept.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        latency: float = 0.0,
        anonymous: Anonymous = "allow",
        resolve_user: Callable[[str], str | None] = user_of,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare an emulator; nothing is opened yet.

        Args:
            port: The port to listen on; 0 takes a free one.
            latency: Seconds that every request takes at least.
            anonymous: Whether requests without a user are served, in a partition of their own, or answered with 401.
            resolve_user: Returns the user of a call id; by default the part before its first dot (see `call_id_for`).
            clock: Seconds since the epoch, for the time to live of state store items.
        """
        self.faults = Faults()
        self.log = RequestLog()
        self.credential = EmulatorCredential()
        self._port = port
        self._secret = uuid4().hex
        self._api = Api(
            storage=Storage(responses=ResponseStorage(), state=StateStorage(clock)),
            faults=self.faults,
            log=self.log,
            resolve_user=resolve_user,
            anonymous=anonymous,
            latency=latency,
            identity_secret=self._secret,
        )
        self._stack = AsyncExitStack()
        self._certificate: Certificate | None = None

    @property
    def endpoint(self) -> str:
        """The project endpoint, for `FOUNDRY_PROJECT_ENDPOINT`."""
        return f"{self._origin}{PROJECT_PATH}"

    @property
    def ca_file(self) -> Path:
        """The authority that signed the emulator's certificate, PEM."""
        return self._running.ca_file

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a process that uses this emulator as its platform.

        They include a managed identity for `DefaultAzureCredential`, so that the process needs no credential.
        """
        return {
            HOSTING_VARIABLE: "emulator",
            ENDPOINT_VARIABLE: self.endpoint,
            "SSL_CERT_FILE": str(self._running.bundle_file),
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
            "IDENTITY_ENDPOINT": f"{self._origin}{IDENTITY_PATH}",
            "IDENTITY_HEADER": self._secret,
        }

    def trust(self) -> None:
        """Let this process accept the emulator's certificate; another process needs only `environment`."""
        trust_in_process(self.ca_file)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="hostedagent-emulator-")))
            certificate = issue(directory)
            runner = web.AppRunner(
                self._api.application(), access_log=None, handle_signals=False, shutdown_timeout=_FAREWELL_SECONDS
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, LOOPBACK, self._port, ssl_context=certificate.context).start()
            self._port = runner.addresses[0][1]
            self._certificate = certificate
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._certificate = None
        await self._stack.aclose()

    @property
    def _origin(self) -> str:
        if self._certificate is None:
            raise RuntimeError(_NOT_RUNNING)
        return f"https://localhost:{self._port}"

    @property
    def _running(self) -> Certificate:
        if self._certificate is None:
            raise RuntimeError(_NOT_RUNNING)
        return self._certificate
