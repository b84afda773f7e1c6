"""The port of a server: parses it, and checks that it is free."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

import click

DEFAULT_PORT: Final = 8088

_VARIABLE: Final = "PORT"
_MOST: Final = 65535


class PortError(Exception):
    """The port is invalid or cannot be bound; the message is one line for the user."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def port_number(text: str) -> int:
    """Parse the value of an option `--port`; 0 is any free port."""
    if not is_port(text, least=0):
        raise click.BadParameter(f"{text!r} is not a port: it must be 0 to {_MOST}.")
    return int(text)


def is_port(text: str, *, least: int = 1) -> bool:
    """Whether a text is the number of a port."""
    return text.isdecimal() and len(text) <= len(str(_MOST)) and least <= int(text) <= _MOST


def wanted_port(option: int | None) -> int:
    """The port to bind: the option, else `PORT`, else 8088.

    Raises:
        PortError: `PORT` is not a port; the SDK refuses that even if there is an option.
    """
    text = os.environ.get(_VARIABLE, str(DEFAULT_PORT))
    if not is_port(text):
        raise PortError(f"{text!r} is not a port: {_VARIABLE} must be 1 to {_MOST}.", code=2)
    return int(text) if option is None else option


def free_port(host: str, port: int) -> int:
    """Check that an address can be bound before anything slow is loaded; port 0 becomes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortError(in_use(host, port)) from error
            raise PortError(f"Cannot bind {host}:{port}: {error.strerror or error}.") from error
        return int(probe.getsockname()[1])


def in_use(host: str, port: int) -> str:
    """The message for a port that another process uses."""
    return f"Port {port} of {host} is in use. Stop what uses it, or choose another with --port."
