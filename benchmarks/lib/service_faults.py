"""How long a trainer waits for a batch when servers of the feature service fail, and whether batches are the same."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lib.common import spread
from benchmarks.lib.consumer import Consumer
from benchmarks.lib.servers import Service


@dataclass(frozen=True)
class Fault:
    """Something that happens to the servers.

    Attributes
    ----------
    name : str
    n_servers : int
    happen : callable (Service) -> None
    has_shards : bool
        Whether the trainer could make the batches itself.
    most_s : float
        Longest wait for a batch that is the aim.
    """

    name: str
    n_servers: int
    happen: Callable[[Service], None]
    has_shards: bool
    most_s: float


# A server that does not answer is given up after 2.5 s, or two polls of 0.1 s later.
FAULTS = (
    Fault("one of two servers is killed", 2, lambda service: service.kill(0), False, 0.5),
    Fault("one of two servers is stopped", 2, lambda service: service.stop(0), False, 2.7),
    Fault("the only server is killed, and started again", 1, lambda service: service.kill(0), False, 5.0),
    Fault("all servers are killed, the trainer has the shards", 2, Service.close, True, 1.0),
)


def measure(fault: Fault, consumer: Consumer, shards: Path, runs: int, **arguments: Any) -> dict[str, Any]:
    """Let a fault happen in the middle of an epoch, several times.

    Returns
    -------
    dict
        The longest waits in seconds before the fault and after it, and whether all batches were those of a local
        loader.
    """
    before, after, same = [], [], True
    n_batches = consumer.use(shards=shards, **arguments)
    expected, notice = consumer.take(1, digest=True)["digest"], n_batches // 3
    for _ in range(runs):
        with Service(shards, fault.n_servers) as service:
            consumer.use(addresses=service.addresses, shards=shards if fault.has_shards else None, **arguments)
            consumer.take(0, n_batches=16, step_s=0.02)  # until all servers have opened the stream
            consumer.begin(1, digest=True, notice=notice)
            consumer.reply()
            fault.happen(service)
            found = consumer.reply()
        before.append(max(found["waits"][1:notice]))
        after.append(max(found["waits"][notice:]))
        same &= found["digest"] == expected
    return {
        "fault": fault.name,
        "before_s": spread(before),
        "after_s": spread(after),
        "most_s": fault.most_s,
        "same": same,
    }
