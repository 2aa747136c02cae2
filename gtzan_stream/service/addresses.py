"""Addresses of servers: host:port, or an address of ZeroMQ."""

import logging
import os
import re
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gtzan_stream.errors import UserError

_log = logging.getLogger(__name__)
DEFAULT_PORT = 5690
_TCP = re.compile(r"(?:tcp://)?(?P<host>\[[0-9A-Fa-f:]+\]|[\w.\-*]+)(?::(?P<port>\d{1,5}|\*))?")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def endpoint(address: str) -> str:
    """Return the ZeroMQ address of ``host:port``, ``host``, ``tcp://host:port`` or ``ipc://path``.

    Raises UserError if it is none of them.

    >>> endpoint("localhost")
    'tcp://127.0.0.1:5690'
    """
    if address.startswith("ipc://") and len(address) > len("ipc://"):
        return address
    found = _TCP.fullmatch(address)
    port = (found["port"] if found else None) or str(DEFAULT_PORT)
    if not found or (port != "*" and not 0 < int(port) < 2**16):
        raise UserError(
            f"{address!r} is not the address of a server: write host:port, such as 127.0.0.1:{DEFAULT_PORT}"
        )
    name = found["host"]
    return f"tcp://{'127.0.0.1' if name == 'localhost' else name}:{port}"  # one name, as ZeroMQ resolves it


def endpoints(addresses: str | Sequence[str]) -> list[str]:
    """Return the ZeroMQ addresses of a list, or of a text with commas between addresses."""
    given = addresses.split(",") if isinstance(addresses, str) else list(addresses)
    found = [endpoint(address.strip()) for address in given if address.strip()]
    if not found:
        raise UserError("no server was named: write host:port, or several with commas between them")
    return list(dict.fromkeys(found))


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach an address of ZeroMQ."""
    return address.startswith("ipc://") or host(address) in _LOOPBACK


def host(address: str) -> str:
    """Return the host of a tcp address."""
    return address.removeprefix("tcp://").rpartition(":")[0]


def local_endpoint(address: str) -> str | None:
    """Return the Unix socket at which a server on this machine listens besides its tcp address.

    It takes half of the work of a TCP connection. Its folder belongs to the user, so that only the user's own servers
    are found there. None if `address` is not on this machine only, or the system has no Unix sockets.
    """
    if not address.startswith("tcp://") or not is_loopback(address) or not hasattr(os, "getuid"):
        return None
    folder = Path(tempfile.gettempdir()) / f"gtzan-stream-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        _log.debug("no Unix socket for %s: %s", address, error)
        return None
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        return None
    return f"ipc://{folder / address.rpartition(':')[2]}"


def is_listening(endpoint: str) -> bool:
    """Return whether a program listens at a Unix socket, given as ``ipc://path``."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(endpoint.removeprefix("ipc://")) == 0


def resolved(address: str) -> str:
    """Return an address with the number of its host instead of its name. Raises OSError if there is no such host.

    >>> resolved("tcp://127.0.0.1:5690")
    'tcp://127.0.0.1:5690'
    """
    if not address.startswith("tcp://"):
        return address
    name, port = host(address).strip("[]"), address.rpartition(":")[2]
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    family, *_, numbers = min(found, key=lambda entry: entry[0] != socket.AF_INET)  # servers listen at IPv4 by default
    return f"tcp://[{numbers[0]}]:{port}" if family == socket.AF_INET6 else f"tcp://{numbers[0]}:{port}"


def replace_wildcard(address: str, reached_at: str) -> str:
    """Return an address with the host of another one if it is that of all interfaces, which only a server understands.

    >>> replace_wildcard("tcp://0.0.0.0:5691", "tcp://10.0.0.7:5690")
    'tcp://10.0.0.7:5691'
    """
    if host(address) in ("0.0.0.0", "*", "[::]") and reached_at.startswith("tcp://"):
        return f"tcp://{host(reached_at)}:{address.rpartition(':')[2]}"
    return address


def consecutive(listen: str, n: int) -> list[str]:
    """Return the addresses of `n` servers: consecutive ports, or paths with a number.

    Raises UserError if the port is not a number, or there are not enough ports after it.

    >>> consecutive("127.0.0.1:5690", 2), consecutive("ipc:///tmp/service", 2)
    (['tcp://127.0.0.1:5690', 'tcp://127.0.0.1:5691'], ['ipc:///tmp/service-0', 'ipc:///tmp/service-1'])
    """
    first = endpoint(listen)
    if first.startswith("ipc://"):
        return [f"{first}-{i}" for i in range(n)]
    port = first.rpartition(":")[2]
    if port == "*" or int(port) + n > 2**16:
        raise UserError(f"--listen {listen}: {n} servers need {n} ports from a number up to {2**16 - n}: choose that")
    return [f"tcp://{host(first)}:{int(port) + i}" for i in range(n)]
