"""Consumers: processes that take batches from a loader or from a feature service, as a trainer does, and do not train.

A consumer reads commands from standard input, each a line of JSON, and answers each with a line:

    {"open": {"addresses": ..., "shards": ..., "augment": ...}}     the number of batches in an epoch
    {"take": {"epoch": 3, "step_s": 0.01}}                          what `take` returns
"""

import hashlib
import json
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.lib.processes import Process
from gtzan_stream.batch import Batch
from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from gtzan_stream.service import ServedLoader

# --- in the process ---------------------------------------------------------------------------------------------------


def open_loader(addresses: Sequence[str] = (), shards: str | None = None, **arguments: Any) -> Loader:
    """Open a loader of every clip, or with `addresses` one of the feature service there."""
    if addresses:
        return ServedLoader(list(addresses), shards, **arguments)
    assert shards is not None
    return Loader(shards, **arguments)


def take(
    loader: Loader,
    epoch: int,
    *,
    n_batches: int | None = None,
    step_s: float = 0.0,
    notice: int | None = None,
    digest: bool = False,
) -> dict[str, Any]:
    """Take the batches of an epoch.

    Parameters
    ----------
    loader : Loader
    epoch : int
    n_batches : int, optional
        How many to take; all by default.
    step_s : float
        Seconds that a training step would take after each batch.
    notice : int, optional
        Print a line when this batch was taken.
    digest : bool
        Whether to compute a digest of all batches, which costs CPU time.

    Returns
    -------
    dict
        Seconds, the seconds of the wait for each batch, the bytes of the features, and the digest.
    """
    loader.set_epoch(epoch)
    waits, n_bytes, sha = [], 0, hashlib.sha256()
    began = asked = time.perf_counter()
    for number, batch in enumerate(loader):
        waits.append(time.perf_counter() - asked)
        n_bytes += batch.features.nbytes
        if digest:
            add_to_digest(sha, batch)
        if number == notice:
            print(json.dumps({"taken": number}), flush=True)
        if number + 1 == n_batches:
            break
        time.sleep(step_s)
        asked = time.perf_counter()
    return {"seconds": time.perf_counter() - began, "waits": waits, "n_bytes": n_bytes, "digest": sha.hexdigest()}


def add_to_digest(sha: Any, batch: Batch) -> None:
    """Add all that a batch holds to a digest."""
    for tensor in (batch.features, batch.labels, batch.targets, batch.weights, batch.loss_weights):
        sha.update(tensor.numpy().tobytes())
    for array in (batch.crops, batch.starts, batch.valid_frames):
        sha.update(array.tobytes())
    sha.update(repr((batch.keys, batch.epoch, batch.skipped)).encode())


def main() -> None:
    """Follow the commands on standard input until it ends."""
    logging.disable(logging.WARNING)  # servers that fail are expected here
    loader: Loader | None = None
    for line in sys.stdin:
        ((command, arguments),) = json.loads(line).items()
        if command == "open":
            if loader is not None:
                loader.close()
            loader = open_loader(**arguments)
            print(json.dumps(len(loader)), flush=True)
        else:
            assert loader is not None
            print(json.dumps(take(loader, **arguments)), flush=True)


# --- in the benchmark -------------------------------------------------------------------------------------------------


class Consumer(Process):
    """A process that takes batches."""

    def __init__(self) -> None:
        super().__init__("-m", "benchmarks.lib.consumer", stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def use(self, *, addresses: Sequence[str] = (), shards: Path | None = None, **arguments: Any) -> int:
        """Close its loader, open another, and return the number of batches in an epoch; see `open_loader`."""
        where = {"addresses": list(addresses), "shards": None if shards is None else str(shards.resolve())}
        self._send("open", {**where, **arguments})
        return self.reply()

    def begin(self, epoch: int, **how: Any) -> None:
        """Make it take the batches of an epoch; see `take`."""
        self._send("take", {"epoch": epoch, **how})

    def take(self, epoch: int, **how: Any) -> dict[str, Any]:
        """Make it take the batches of an epoch, and return what `take` does."""
        self.begin(epoch, **how)
        return self.reply()

    def reply(self) -> Any:
        """Wait for its next line. Raises UserError if the process has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise UserError("a process that takes batches has failed; see above")
        return json.loads(line)

    def _send(self, command: str, arguments: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({command: arguments}) + "\n")
        self.process.stdin.flush()


if __name__ == "__main__":
    main()
