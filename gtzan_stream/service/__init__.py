"""The feature service: servers make batches of named streams, and the loaders of several trainers ask for them.

A batch is a pure function of (stream, epoch, number, rank, world size), so a server keeps no record of who got what:
any request may be lost, repeated, or sent to another server, and the bytes are the same.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gtzan_stream.errors import UserError

try:
    import zmq  # noqa: F401
except ImportError as error:
    raise UserError(f"the feature service needs pyzmq ({error}): pip install 'gtzan-stream[service]'") from error

if TYPE_CHECKING:
    from gtzan_stream.service.loader import ServedLoader
    from gtzan_stream.service.manifest import download_manifest
    from gtzan_stream.service.server import Server

__all__ = ["ServedLoader", "Server", "download_manifest"]
_HOME = {"ServedLoader": "loader", "Server": "server", "download_manifest": "manifest"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the supervisor does not have to import torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
