"""Terms: what the servers of a service must agree on with a client, and with each other."""

import logging
from pathlib import Path
from typing import Any

from gtzan_stream import __version__
from gtzan_stream.errors import UserError
from gtzan_stream.service.addresses import endpoints, replace_wildcard
from gtzan_stream.service.protocol import VERSION, Header, ServiceError
from gtzan_stream.service.stream import Stream
from gtzan_stream.threads import fork_safe_lock, program_is_ending
from gtzan_stream.words import short_repr

_log = logging.getLogger(__name__)
_MAX_SERVERS = 1024


class Terms:
    """What a client has learned from the servers that answered, and demands of others. For any thread.

    Parameters
    ----------
    client : str
        Name of this client, for the servers' logs.
    addresses : list of str
        Of servers.
    keys : Path, optional
    strict : bool
        Refuse servers that compute other bits than the first; else warn.

    Attributes
    ----------
    addresses : list of str
        Also those that servers have named.
    manifest_digest : str, optional
        Of the shards that servers must have: those of the first that answered, unless it was set before.
    clips : str
        Where those clips are, for messages.
    closed : bool
    """

    def __init__(self, client: str, addresses: list[str], *, keys: Path | None, strict: bool) -> None:
        self.client, self.addresses, self.keys, self.strict = client, addresses, keys, strict
        self.manifest_digest: str | None = None
        self.clips, self.closed = "", False
        self._probes: dict[str, tuple[str, str]] = {}  # of each stream, from the first server: address, digest
        self._lock = fork_safe_lock()

    @property
    def is_open(self) -> bool:
        """Whether the client was not closed, and the program does not end."""
        return not self.closed and not program_is_ending()

    def check_open(self) -> None:
        """Raise UserError if the client was closed, or the program ends."""
        if not self.is_open:
            raise UserError("this loader is closed: make another one")

    def check_server(self, address: str, description: Header) -> str:
        """Check what a server says of itself, and return the name of its process.

        Raises
        ------
        UserError
            If it has another version or other clips.
        ServiceError
            If it does not say so.
        """
        if description.get("protocol") != VERSION:
            raise UserError(
                f"the server at {address} has version {short_repr(description.get('version'))} of gtzan-stream, this "
                f"is {__version__}, and they do not understand each other: install the same version"
            )
        names, digest = description.get("addresses"), description.get("manifest_digest")
        instance = description.get("instance")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ServiceError("it does not say which servers there are")
        if not isinstance(instance, str) or not isinstance(digest, str):
            raise ServiceError("it does not say what it is")
        try:
            found = endpoints([replace_wildcard(name, address) for name in names])
        except UserError as error:
            raise ServiceError(f"it names servers by wrong addresses: {error}") from None
        with self._lock:
            if self.manifest_digest is None:
                self.manifest_digest, self.clips = digest, address
            if digest == self.manifest_digest:
                self.addresses = list(dict.fromkeys([*self.addresses, *found]))[:_MAX_SERVERS]
                return instance
        raise UserError(f"the server at {address} has other clips than those of {self.clips}: serve the same shards")

    def check_probe(self, address: str, stream: Stream, probe: Any) -> None:
        """Compare a server's probe batch of a stream with that of the first server; see `probe`.

        Raises
        ------
        UserError
            If it differs, and `strict` was set.
        """
        if not isinstance(probe, str):
            return  # an example of the batch could not be read
        with self._lock:
            first, expected = self._probes.setdefault(stream.digest, (address, probe))
        if probe == expected:
            return
        message = (
            f"the server at {address} computes other bits than the one at {first}: they have different processors, "
            "devices or libraries"
        )
        if self.strict:
            raise UserError(f"{message}; use servers of one kind, or leave out strict")
        _log.warning("%s", message)

    def probe_of(self, stream: Stream) -> str | None:
        """Return the digest of a stream's probe batch at the first server that opened it."""
        return self._probes.get(stream.digest, ("", None))[1]
