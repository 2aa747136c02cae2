"""Keys of the service: ZeroMQ's CURVE encrypts the connections, and lets only clients with the client's key in.

A folder of keys has four files, as pyzmq writes them: `server.key` and `client.key` are public, `server.key_secret` and
`client.key_secret` hold the secret key too. A server reads server.key_secret and client.key; a trainer reads
client.key_secret and server.key, so its copy of the folder needs no more.
"""

import logging
import os
import struct
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from gtzan_stream import folders
from gtzan_stream.errors import UserError, writing

_log = logging.getLogger(__name__)
_KEY_BYTES = 32
_MAKE = "make keys with `gtzan-stream serve --make-keys DIR`"


def make_keys(folder: Path) -> None:
    """Write new keys for the servers and the clients of a service.

    Parameters
    ----------
    folder : Path
        A new or empty folder. Only its owner gets access to it.

    Raises
    ------
    UserError
        If the folder holds files already, or cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()):
        held = "keys, which servers and trainers may use" if any(folder.glob("*.key*")) else "other files"
        raise UserError(f"{folder} holds {held}: name a new folder for the keys")
    with folders.created(folder), writing(folder):
        folder.chmod(0o700)
        for name in ("server", "client"):
            for path in zmq.auth.create_certificates(folder, name):
                os.chmod(path, 0o600)


def secure_server(
    context: "zmq.Context[zmq.Socket[bytes]]", socket: "zmq.Socket[bytes]", folder: Path
) -> ThreadAuthenticator:
    """Let only clients with the client's key use a server's socket. Call it before the socket is bound.

    Raises
    ------
    UserError
        If a key cannot be read, or other users can read the secret one.
    """
    public, secret = _read(folder, "server.key_secret")
    clients = _Clients(_read(folder, "client.key")[0])
    socket.curve_publickey, socket.curve_secretkey, socket.curve_server = public, secret, True
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve_callback("*", credentials_provider=clients)
    return authenticator


def secure_client(socket: "zmq.Socket[bytes]", folder: Path) -> None:
    """Give a client's socket its key, and the server's. Call it before the socket is connected.

    Raises
    ------
    UserError
        If a key cannot be read, or other users can read the secret one.
    """
    public, secret = _read(folder, "client.key_secret")
    socket.curve_publickey, socket.curve_secretkey = public, secret
    socket.curve_serverkey = _read(folder, "server.key")[0]


def server_files(folder: Path) -> dict[str, str]:
    """Return the contents of the files that a server reads, by name, for a server on another machine.

    Raises
    ------
    UserError
        As `secure_server` does.
    """
    names = ("server.key_secret", "client.key")
    for name in names:
        _read(folder, name)
    return {name: (folder / name).read_text(encoding="utf-8") for name in names}


class _Clients:
    """Decides for ZeroMQ which clients may connect: those that have the secret key of this public key."""

    def __init__(self, public: bytes) -> None:
        self._public = public

    def callback(self, domain: str, key: bytes) -> bool:
        """Return whether a client with this public key may connect."""
        if key != self._public:
            _log.info("a client with another key was refused")
        return key == self._public


def _read(folder: Path, name: str) -> tuple[bytes, bytes]:
    """Return the public key in a file, and the secret one, empty unless the file's name promises it."""
    path, secret_too = folder / name, name.endswith("_secret")
    try:
        if secret_too and os.name == "posix" and path.stat().st_mode & 0o077:
            raise UserError(f"{path} can be used by other users: run `chmod 600 {path}`")
        public, secret = zmq.auth.load_certificate(path)
        secret = secret if secret_too else None
        if not _is_key(public) or (secret_too and not (secret and _is_key(secret))):
            raise ValueError("a key is missing, or has other characters")
        if secret and zmq.curve_public(secret) != public:
            raise ValueError("its two keys do not belong together")
    except UserError:
        raise
    except OSError as error:
        missing = not path.exists()
        reason = "does not exist" if missing else f"cannot be read ({error.strerror or error})"
        remedy = f"copy it from the folder of keys, or {_MAKE}" if missing else "check its permissions"
        raise UserError(f"{path} {reason}: {remedy}") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}): copy it again, or {_MAKE}") from None
    return public, secret or b""


def _is_key(key: bytes) -> bool:
    try:
        return len(z85.decode(key)) == _KEY_BYTES
    except (KeyError, ValueError, struct.error):
        return False
