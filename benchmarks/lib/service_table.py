"""Render the figures of the feature service: tables of its parts, and their section."""

from collections.abc import Sequence
from typing import Any

from benchmarks.lib import tables
from benchmarks.lib.common import markdown
from benchmarks.lib.figures import milliseconds
from benchmarks.lib.service_costs import CACHED_SHARE, SLOWER

Rows = Sequence[dict[str, Any]]


def of_part(rows: Rows, part: str) -> list[dict[str, Any]]:
    """Return the rows of a part."""
    return [row for row in rows if row["part"] == part]


def cost(rows: Rows) -> tables.Table:
    """Compare one trainer and its servers with a local loader."""
    columns = ["recipe", "servers", "local, ms a batch", "served, ms", "of it in the trainer", "times local"]
    columns += ["more, ms a MB", "duration, times local"]
    return columns, [
        [
            f"`{row['recipe']}`",
            str(row["servers"]),
            *(milliseconds(row[name]["median"]) for name in ("local_ms", "served_ms", "client_ms")),
            extent(row["cpu_ratio"]),
            extent(row["extra_ms_per_mb"]),
            extent(row["seconds_ratio"]),
        ]
        for row in of_part(rows, "cost")
    ]


def shared(rows: Rows) -> tables.Table:
    """Compare trainers that share a stream with as many local loaders."""
    columns = ["trainers", "batches from", "CPU s", "times one trainer's", "seconds", "batches made, of an epoch's"]
    return columns, [
        [
            f"{row['trainers']}" + f", one of them {SLOWER} times slower" * row["slow"],
            row["made_by"],
            f"{row['cpu_s']['median']:.1f}",
            f"{times_one(rows, row, 'cpu_s'):.2f}",
            f"{row['seconds']['median']:.1f}",
            extent(row["made"]) if row["made"] else "",
        ]
        for row in of_part(rows, "shared")
    ]


def times_one(rows: Rows, row: dict[str, Any], name: str) -> float:
    """Return a figure of several trainers, relative to that of one trainer with the same source of batches."""
    (one,) = (each for each in of_part(rows, "shared") if each["trainers"] == 1 and each["made_by"] == row["made_by"])
    return row[name]["median"] / one[name]["median"]


def faults(rows: Rows) -> tables.Table:
    """List the longest wait after each fault."""
    columns = ["what happens", "longest wait, s", "before it, s", "aim, s", "the same batches"]
    return columns, [
        [
            row["fault"],
            extent(row["after_s"]),
            f"{row['before_s']['max']:.2f}",
            f"{row['most_s']:g}",
            "yes" if row["same"] else "**no**",
        ]
        for row in of_part(rows, "faults")
    ]


def memory(rows: Rows) -> tables.Table:
    """List the memory of a server in each tenth of a long run."""
    return tables.soak(of_part(rows, "memory"))


def start(rows: Rows) -> tables.Table:
    """State the time from starting a server to the first batch."""
    return ["start to first batch, s"], [[extent(row["seconds"])] for row in of_part(rows, "start")]


TABLES = {
    "cost": ("One trainer", cost),
    "shared": ("Trainers that share a stream", shared),
    "faults": ("Servers that fail", faults),
    "memory": ("Memory of a server", memory),
    "start": ("Start", start),
}
"""For each part, a title and the function that builds its table."""


def section(result: dict[str, Any]) -> str:
    """Render all figures of the feature service."""
    settings, rows = result["settings"], result["rows"]
    tenths, begun, alone = (of_part(rows, part) for part in ("memory", "start", "cost"))
    first, last = (tenths[i]["host_mb"]["median"] for i in (0, -1))
    return "\n\n".join(
        [
            f"Batches of {settings['batch_size']} ({alone[0]['mb'] / alone[0]['batches']:.2f} MB), "
            f"{alone[0]['batches']} an epoch. Servers, trainers and local loaders are processes on the same two cores; "
            "the trainers only take batches. Medians, with minimum and maximum in brackets.",
            "One trainer and a local loader in turns: the CPU time of trainer and servers together, and the duration "
            "of an epoch:",
            markdown(*cost(rows)),
            "Trainers that take the same epoch of the recipe `study` at the same time, from two servers whose caches "
            f"hold {CACHED_SHARE:.0%} of it, and from local loaders of their own. The CPU time is that of all "
            "processes, the duration that of a trainer that is not slow:",
            markdown(*shared(rows), words=2),
            "The longest wait for a batch after a fault in the middle of an epoch. The epoch's batches are compared "
            "with a local loader's:",
            markdown(*faults(rows)),
            f"A server's memory is {first:.0f} MB in the first tenth of {settings['soak_batches']:,} batches and "
            f"{last:.0f} MB in the last ({settings['memory_growth']:+.1%}), while clients come and go, each with a "
            f"stream of its own. The first batch comes {begun[0]['seconds']['median']:.1f} s after a server's start.",
        ]
    )


def extent(values: dict[str, float]) -> str:
    """Format median, minimum and maximum: ``1.05 (1.02 to 1.08)``."""
    return f"{values['median']:.2f} ({values['min']:.2f} to {values['max']:.2f})"
