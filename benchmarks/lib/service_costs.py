"""What a feature service costs one trainer, and what it saves several that share a stream."""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lib.common import spread
from benchmarks.lib.consumer import Consumer
from benchmarks.lib.processes import cpu_s
from benchmarks.lib.servers import Service

CACHE_MB = 16
"""Least cache of a server: it refuses batches whose waveforms are larger."""
SLOWER = 10
"""How many times as long the slow trainer takes for a batch."""
CACHED_SHARE = 0.2
"""Share of an epoch's batches that fit into the caches of the servers, where several trainers share a stream."""


@dataclass(frozen=True)
class Spent:
    """What an epoch took: seconds of each consumer, CPU seconds of all of them and of the servers, batches made."""

    seconds: list[float]
    client_cpu_s: float
    server_cpu_s: float
    made: int
    mb: float
    """Size of a consumer's features in megabytes."""

    @property
    def cpu_s(self) -> float:
        """CPU seconds of consumers and servers."""
        return self.client_cpu_s + self.server_cpu_s


def spend(
    consumers: Sequence[Consumer], epoch: int, service: Service | None = None, *, slow_step_s: float = 0.0
) -> Spent:
    """Let consumers take an epoch at the same time; the last one waits `slow_step_s` after each batch."""

    def used() -> tuple[float, float, int]:
        clients = sum(cpu_s(consumer.pid) for consumer in consumers)
        return (clients, service.cpu_s(), service.batches_made()) if service else (clients, 0.0, 0)

    before = used()
    for consumer in consumers:
        consumer.begin(epoch, step_s=slow_step_s if consumer is consumers[-1] else 0.0)
    replies = [consumer.reply() for consumer in consumers]
    clients, servers, made = (after - first for after, first in zip(used(), before, strict=True))
    return Spent([reply["seconds"] for reply in replies], clients, servers, int(made), replies[0]["n_bytes"] / 1e6)


def cost(
    service: Service, served: Consumer, local: Consumer, shards: Path, rounds: int, **arguments: Any
) -> dict[str, Any]:
    """Compare one trainer and its servers with a local loader, in turns.

    Returns
    -------
    dict
        The batches of an epoch and their size; milliseconds of CPU time for a batch (of the local loader, of trainer
        and servers together, of the trainer alone), their ratio, the difference in milliseconds for a megabyte, and the
        ratio of the durations.
    """
    n_batches = local.use(shards=shards, **arguments)
    served.use(addresses=service.addresses, **arguments)
    pairs = []
    for epoch in range(rounds + 1):
        first = spend([local], epoch) if epoch % 2 else None
        with_servers = spend([served], epoch, service)
        pairs.append((first or spend([local], epoch), with_servers))
    pairs = pairs[1:]  # the first was the warm-up
    return {
        "batches": n_batches,
        "mb": pairs[0][0].mb,
        "local_ms": spread([1e3 * a.cpu_s / n_batches for a, _ in pairs]),
        "served_ms": spread([1e3 * b.cpu_s / n_batches for _, b in pairs]),
        "client_ms": spread([1e3 * b.client_cpu_s / n_batches for _, b in pairs]),
        "cpu_ratio": spread([b.cpu_s / a.cpu_s for a, b in pairs]),
        "extra_ms_per_mb": spread([1e3 * (b.cpu_s - a.cpu_s) / a.mb for a, b in pairs]),
        "seconds_ratio": spread([b.seconds[0] / a.seconds[0] for a, b in pairs]),
    }


def shared(shards: Path, n_servers: int, trainers: int, rounds: int, **arguments: Any) -> list[dict[str, Any]]:
    """Compare one trainer, several with the same stream, several of which one is slow, and as many local loaders.

    Returns
    -------
    list of dict
        A row for each: CPU seconds for an epoch of all of them, and the seconds that the quick ones take; with servers,
        the batches made, relative to those of an epoch.
    """
    with ExitStack() as stack:
        consumers = [stack.enter_context(Consumer()) for _ in range(trainers)]
        n_batches = consumers[0].use(shards=shards, **arguments)
        first = spend(consumers[:1], 0)
        cache_mb = max(CACHED_SHARE * first.mb / n_servers, CACHE_MB)
        service = stack.enter_context(Service(shards, n_servers, cache_mb=cache_mb))
        for consumer in consumers:
            consumer.use(addresses=service.addresses, **arguments)
        spend(consumers, 0, service)  # warms up
        found: dict[str, list[Spent]] = {"one": [], "alike": [], "slow": []}
        for number in range(rounds):
            found["one"].append(spend(consumers[:1], 3 * number + 1, service))
            found["alike"].append(spend(consumers, 3 * number + 2, service))
            step_s = (SLOWER - 1) * statistics.median(found["alike"][-1].seconds) / n_batches
            found["slow"].append(spend(consumers, 3 * number + 3, service, slow_step_s=step_s))
        for consumer in consumers:
            consumer.use(shards=shards, **arguments)
        local = {"one": [spend(consumers[:1], 1)], "alike": [spend(consumers, 1)]}
    rows = [_shared_row("servers", name, trainers, runs, n_batches) for name, runs in found.items()]
    return rows + [_shared_row("local loaders", name, trainers, runs, n_batches) for name, runs in local.items()]


def _shared_row(made_by: str, pace: str, trainers: int, runs: Sequence[Spent], n_batches: int) -> dict[str, Any]:
    quick = [run.seconds[:-1] if pace == "slow" else run.seconds for run in runs]
    return {
        "made_by": made_by,
        "trainers": 1 if pace == "one" else trainers,
        "slow": int(pace == "slow"),
        "cpu_s": spread([run.cpu_s for run in runs]),
        "seconds": spread([statistics.median(seconds) for seconds in quick]),
        "made": spread([run.made / n_batches for run in runs]) if made_by == "servers" else None,
    }
