"""Measure the feature service beside local loaders: ``python benchmarks/service.py --shards shards/``.

Trainers, servers and local loaders are processes of their own, on two cores. The trainers only take batches. CPU times
are those of whole processes, over whole epochs, without start-up and warm-up. The parts:

- cost: one trainer, with one server and with two, in turns with a local loader;
- shared: several trainers with one stream, also if one of them is slow, and as many local loaders;
- faults: the longest wait for a batch when servers are killed or stopped;
- memory: that of a server while clients come and go, each with a stream of its own;
- start: the time from starting a server to the first batch.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import service_faults, service_table
from benchmarks.lib.common import Shards, run, save, show, spread
from benchmarks.lib.consumer import Consumer
from benchmarks.lib.memory import memory_mb
from benchmarks.lib.processes import N_CORES
from benchmarks.lib.servers import Service
from benchmarks.lib.service_costs import CACHE_MB, cost, shared
from benchmarks.lib.service_faults import FAULTS
from benchmarks.lib.tenths import TENTHS, Measurement, flatness
from benchmarks.lib.tenths import row as row_of_tenth
from gtzan_stream.errors import UserError

CPU = torch.device("cpu")
RECIPES = ("study", "none")
BATCH_SIZE, SOAK_BATCH_SIZE = 16, 4


@dataclass(frozen=True)
class Size:
    """How much to measure: crops of each clip in an epoch, repetitions, trainers; and for memory, batches and clients.

    A server keeps 64 streams open, so its memory grows until that many clients have come.
    """

    crops_per_clip: int = 8
    rounds: int = 5
    few_rounds: int = 2
    trainers: int = 8
    soak_batches: int = 10_000
    soak_clients: int = 100
    first_clients: int = 80

    @property
    def of_loaders(self) -> dict[str, int]:
        """Arguments of loaders."""
        return {"batch_size": BATCH_SIZE, "crops_per_clip": self.crops_per_clip}


QUICK = Size(crops_per_clip=1, rounds=1, few_rounds=1, trainers=2, soak_batches=40, soak_clients=10, first_clients=2)

Rows = list[dict[str, Any]]


def costs(shards: Path, size: Size) -> Rows:
    """Return a row for each number of servers and recipe."""
    rows: Rows = []
    with Consumer() as served, Consumer() as local:
        for n_servers in (1, N_CORES):
            with Service(shards, n_servers) as service:
                for recipe in RECIPES:
                    found = cost(service, served, local, shards, size.rounds, augment=recipe, **size.of_loaders)
                    rows.append({"part": "cost", "recipe": recipe, "servers": n_servers, **found})
    return rows


def sharing(shards: Path, size: Size) -> Rows:
    """Return the rows of several trainers with one stream."""
    rows = shared(shards, N_CORES, size.trainers, size.few_rounds, augment=RECIPES[0], **size.of_loaders)
    return [{"part": "shared", **row} for row in rows]


def faults(shards: Path, size: Size) -> Rows:
    """Return a row for each fault."""
    settings = {"augment": RECIPES[0], **size.of_loaders}
    with Consumer() as consumer:
        found = [service_faults.measure(each, consumer, shards, size.few_rounds, **settings) for each in FAULTS]
    return [{"part": "faults", **row} for row in found]


def memory(shards: Path, size: Size) -> Rows:
    """Measure a server's memory while clients come and go; each has a stream of its own, and leaves in mid-epoch."""
    per_client = size.soak_batches // size.soak_clients
    with Service(shards, cache_mb=CACHE_MB) as service, Consumer() as consumer:
        (server,) = service.pids

        def come_and_go(client: int, n_batches: int) -> None:
            where: dict[str, Any] = {"addresses": service.addresses, "seed": client, "augment": "none"}
            consumer.use(**where, batch_size=SOAK_BATCH_SIZE, crops_per_clip=size.crops_per_clip)
            consumer.take(0, n_batches=n_batches)

        for client in range(size.first_clients):
            come_and_go(client, 1)
        rows, client = [], size.first_clients
        for tenth in range(TENTHS):
            measured = []
            for _ in range(size.soak_clients // TENTHS):
                began = time.perf_counter()
                come_and_go(client, per_client)
                measured.append(Measurement(time.perf_counter() - began, memory_mb(server), None))
                client += 1
            rows.append({"part": "memory", **row_of_tenth(tenth + 1, measured, per_client * SOAK_BATCH_SIZE)})
    return rows


def start(shards: Path, size: Size) -> Rows:
    """Measure the time from starting a server to a trainer's first batch."""
    seconds = []
    with Consumer() as consumer:
        consumer.use(shards=shards, batch_size=BATCH_SIZE)
        consumer.take(0, n_batches=1)
        for _ in range(size.few_rounds):
            began = time.perf_counter()
            with Service(shards, wait=False) as service:
                consumer.use(addresses=service.addresses, batch_size=BATCH_SIZE)
                consumer.take(0, n_batches=1)
                seconds.append(time.perf_counter() - began)
    return [{"part": "start", "seconds": spread(seconds)}]


PARTS: dict[str, Callable[[Path, Size], Rows]] = {
    "cost": costs,
    "shared": sharing,
    "faults": faults,
    "memory": memory,
    "start": start,
}


def chosen(only: str) -> list[str]:
    """Return the names of the parts to measure. Raises UserError if there is none of a name."""
    names = [name for name in only.split(",") if name] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        raise UserError(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return names


def main(
    shards: Shards = Path("shards"),
    only: Annotated[str, typer.Option(help=f"Some of {', '.join(PARTS)}; their figures are not written.")] = "",
    quick: Annotated[
        bool, typer.Option(help="Try the program: a few batches, figures without meaning, which are not written.")
    ] = False,
    device_name: Annotated[str, typer.Option("--device", hidden=True)] = "cpu",  # as all.py passes it
) -> None:
    """Measure the feature service, and write benchmarks/results/service-cpu.json."""
    if not hasattr(os, "sched_setaffinity"):
        raise UserError("this benchmark needs a system on which a process can be kept on some cores, such as Linux")
    parts, size = chosen(only), QUICK if quick else Size()
    rows: Rows = []
    for part in parts:
        rows += PARTS[part](shards, size)
        title, table = service_table.TABLES[part]
        show(title, *table(rows))
    if quick or parts != list(PARTS):
        return
    growth = flatness(service_table.of_part(rows, "memory"))["host_growth"]
    settings = {"batch_size": BATCH_SIZE, "soak_batch_size": SOAK_BATCH_SIZE, **vars(size), "memory_growth": growth}
    print(f"written to {save('service', CPU, settings, rows)}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which ends the other processes, too
    run(main)
