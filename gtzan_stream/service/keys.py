"""Keys of the service: ZeroMQ's CURVE encrypts the connections, and lets only clients with the client's key in."""

from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator


def secure_server(
    context: "zmq.Context[zmq.Socket[bytes]]", socket: "zmq.Socket[bytes]", folder: Path
) -> ThreadAuthenticator:
    """Let only clients with the client's key use a server's socket."""
    raise NotImplementedError


def secure_client(socket: "zmq.Socket[bytes]", folder: Path) -> None:
    """Give a client's socket its key, and the server's."""
    raise NotImplementedError
