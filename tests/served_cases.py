"""Helpers for tests of the feature service: a server in a thread, digests of epochs, and runs of train.py."""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gtzan_stream.batch import Batch
from gtzan_stream.service.server import Server

SETTINGS = ["--model", "small", "--split", "demo", "--epochs", "2", "--batch-size", "7", "--crops-per-clip", "1"]
SETTINGS += ["--augment", "study", "--normalization", "global", "--optimizer", "adamw", "--lr", "0.01"]
SETTINGS += ["--schedule", "plateau", "--device", "cpu", "--precision", "fp32", "--out", "."]
"""Options of train.py for a run of seconds, with a network of ranks_program."""


@contextmanager
def serving(shards: Path, **options: Any) -> Iterator[Server]:
    """Run a server in a thread, at a free port of this machine."""
    server = Server(shards, options.pop("listen", "tcp://127.0.0.1:*"), **options)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def addresses_of(servers: list[Server]) -> str:
    """Return the addresses of servers as --served takes them."""
    return ",".join(server.address.removeprefix("tcp://") for server in servers)


def digest_of(batches: Iterable[Batch]) -> list[str]:
    """Return a digest of each batch: of all its tensors and arrays, keys, epoch and skipped examples."""
    return [_digest(batch) for batch in batches]


def _digest(batch: Batch) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(batch.tensors.items()):
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.numpy().tobytes())
    for array in (batch.crops, batch.starts, batch.valid_frames):
        found.update(f"{array.dtype}".encode() + array.tobytes())
    found.update(repr((batch.keys, batch.epoch, batch.seed, batch.n_views, len(batch.skipped))).encode())
    return found.hexdigest()
