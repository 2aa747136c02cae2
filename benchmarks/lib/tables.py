"""Build the tables of the benchmarks' results: a function for each benchmark returns columns and cells."""

from collections.abc import Sequence
from typing import Any

from benchmarks.lib.contest import OURS, TORCHAUDIO
from benchmarks.lib.figures import count, milliseconds, ratio, scientific

Rows = Sequence[dict[str, Any]]
Table = tuple[list[str], list[list[str]]]

FAR_BATCH = 10_000
"""Number of a batch late in an epoch, which `scale` plans and resumes from."""


def baseline(rows: Rows) -> Table:
    """Compare two loaders, with each recipe."""
    columns = ["recipe", "loader", "crops a second", "min to max", "times ours"]
    return columns, [
        [
            row["recipe"],
            row["library"],
            count(row["crops_per_s"]["median"]),
            _extent(row["crops_per_s"]),
            "" if row["library"] == OURS else ratio(row["times_ours"]["median"]),
        ]
        for row in rows
    ]


def contest(rows: Rows) -> Table:
    """Compare libraries that do the same operations; see `contest.hold`."""
    columns = ["operation", "cores", "library", "ms a clip", "min to max", "times ours", "error", "from librosa"]
    return columns, [
        [
            row["operation"],
            str(row["cores"]),
            row["library"] + (" *" if row["note"] else ""),
            milliseconds(row["ms_per_clip"]["median"]),
            _extent_ms(row["ms_per_clip"]),
            "" if row["library"] == OURS else ratio(row["times_ours"]["median"]),
            scientific(row["error"]),
            scientific(row["from_librosa"]),
        ]
        for row in rows
    ]


def floor(rows: Rows) -> Table:
    """List each stage on a GPU, with the least time that its memory traffic takes."""
    columns = ["stage", "us a clip", "min to max", "floor, us", "share"]
    return columns, [
        [
            row["stage"],
            f"{row['us_per_clip']['median']:.1f}",
            f"{row['us_per_clip']['min']:.1f} to {row['us_per_clip']['max']:.1f}",
            f"{row['floor_us']:.1f}",
            f"{row['share']:.0%}",
        ]
        for row in rows
    ]


def pitch_cost(rows: Rows) -> Table:
    """List for each shift each library's time, and its ratio to that library's time for a shift of 0 semitones."""
    columns = ["semitones"]
    for library in (OURS, TORCHAUDIO):
        columns += [f"{library}, ms a clip", "min to max", "times its cost at 0"]
    by_step = {(row["library"], row["n_steps"]): row for row in rows}
    steps = sorted({row["n_steps"] for row in rows})
    return columns, [[str(n), *_cost(by_step[OURS, n]), *_cost(by_step[TORCHAUDIO, n])] for n in steps]


def _cost(row: dict[str, Any]) -> list[str]:
    ms = row["ms_per_clip"]
    if ms is None:
        return ["not timed", f"{row['filter_size'] / 1e6:,.0f} million coefficients", ""]
    return [milliseconds(ms["median"]), _extent_ms(ms), ratio(row["times_cost_at_0"])]


def scale(rows: Rows) -> Table:
    """List time and memory of a start-up by the number of clips."""
    columns = [
        "clips",
        "seconds",
        "peak MB",
        "MB kept",
        "plan of batch 0, us",
        f"of batch {FAR_BATCH:,}",
        "of the last",
    ]
    return columns, [
        [
            count(row["clips"]),
            f"{row['seconds']['median']:.3f}",
            count(row["peak_mb"]["median"]),
            count(row["kept_mb"]["median"]),
            *(f"{row['plan_us'][name]:.0f}" for name in ("first", "far", "last")),
        ]
        for row in rows
    ]


def scaling(rows: Rows) -> Table:
    """List the loader's speed by the number of cores, measured or by the model, and what limits it."""
    columns = [
        "recipe",
        "cores",
        "measured, crops/s",
        "model, crops/s",
        "with the GIL, us/row",
    ]
    return columns, [
        [
            row["recipe"],
            count(row["cores"]),
            count(row["measured"]["median"]) if row["measured"] else "",
            count(row["model"]),
            f"{row['lock_us']:.1f}",
        ]
        for row in rows
    ]


def fleet(rows: Rows) -> Table:
    """List by the number of groups what a rank needs to plan, and what a node downloads."""
    caches = list(rows[0]["again"])
    columns = ["groups", "open, s", "plan, ms", "peak MB", "a node downloads", "after losing a node"]
    columns += [f"again in epoch 2, cache {cache} x" for cache in caches]
    return columns, [
        [
            count(row["groups"]),
            f"{row['open_s']['median']:.2f}",
            f"{1e3 * row['plan_s']['median']:.0f}",
            count(row["peak_mb"]["median"]),
            f"{row['share']:.2%}",
            f"{row['share_after_loss']:.2%}",
            *(f"{row['again'][cache]:.0%}" for cache in caches),
        ]
        for row in rows
    ]


def soak(rows: Rows) -> Table:
    """List speed and memory in each tenth of a long run."""
    columns = ["tenth", "crops a second", "min to max", "host MB", "device MB"]
    return columns, [
        [
            str(row["tenth"]),
            count(row["crops_per_s"]["median"]),
            _extent(row["crops_per_s"]),
            count(row["host_mb"]["median"]),
            count(row["device_mb"]["median"]) if row["device_mb"] else "",
        ]
        for row in rows
    ]


def sweep(rows: Rows) -> Table:
    """List the loader's speed with one setting changed at a time."""
    columns = ["setting", "value", "crops a second", "times real time", "min to max"]
    return columns, [
        [
            row["setting"],
            str(row["value"]),
            count(row["crops_per_s"]["median"]),
            count(row["times_real_time"]["median"]),
            _extent(row["times_real_time"]),
        ]
        for row in rows
    ]


def throughput(rows: Rows) -> Table:
    """List the speed of the loader's stages, of the loader, and of training with it."""
    columns = ["stage", "3 s crops a second", "min to max", "times real time", "waiting for data"]
    return columns, [
        [
            row["stage"],
            count(row["crops_per_s"]["median"]),
            _extent(row["crops_per_s"]),
            count(row["times_real_time"]),
            "" if row.get("data_wait") is None else f"{row['data_wait']:.1%}",
        ]
        for row in rows
    ]


def _extent(values: dict[str, float]) -> str:
    return f"{count(values['min'])} to {count(values['max'])}"


def _extent_ms(values: dict[str, float]) -> str:
    return f"{milliseconds(values['min'])} to {milliseconds(values['max'])}"
