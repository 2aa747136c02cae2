"""The feature service: servers make batches of named streams, and the loaders of several trainers ask for them.

A batch is a pure function of (stream, epoch, number, rank, world size), so a server keeps no record of who got what:
any request may be lost, repeated, or sent to another server, and the bytes are the same.
"""

try:
    import zmq  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"the feature service needs pyzmq ({error}): pip install 'gtzan-stream[service]'", name=error.name
    ) from error

from gtzan_stream.service.loader import ServedLoader
from gtzan_stream.service.manifest import download_manifest
from gtzan_stream.service.server import Server

__all__ = ["ServedLoader", "Server", "download_manifest"]
