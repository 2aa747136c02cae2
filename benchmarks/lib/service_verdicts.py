"""Judge the figures of the feature service."""

from collections.abc import Callable
from typing import Any

from benchmarks.lib.service_table import extent, of_part, times_one
from benchmarks.lib.verdicts import Verdict, found

Result = dict[str, Any]


def _cost(result: Result, recipe: str, servers: int) -> dict[str, Any]:
    rows = of_part(result["rows"], "cost")
    return found(row for row in rows if (row["recipe"], row["servers"]) == (recipe, servers))[0]


def cpu_ratio(most: float) -> Callable[[Result], Verdict]:
    """Return a judge of the aim "trainer and server use at most `most` times the CPU time of a local loader"."""

    def verdict(result: Result) -> Verdict:
        ratio = _cost(result, "study", 1)["cpu_ratio"]
        return f"{extent(ratio)} times", ratio["median"] <= most

    return verdict


def cpu_per_mb(most_ms: float) -> Callable[[Result], Verdict]:
    """Return a judge of the aim "a megabyte costs at most `most_ms` more than in a local loader"."""

    def verdict(result: Result) -> Verdict:
        extra = _cost(result, "none", 1)["extra_ms_per_mb"]
        return f"{extent(extra)} ms", extra["median"] <= most_ms

    return verdict


def duration(most: float) -> Callable[[Result], Verdict]:
    """Return a judge of the aim "with two servers, an epoch takes at most `most` times as long as with a loader"."""

    def verdict(result: Result) -> Verdict:
        ratios = {recipe: _cost(result, recipe, 2)["seconds_ratio"] for recipe in ("study", "none")}
        words = ", ".join(f"`{recipe}` {extent(ratio)}" for recipe, ratio in ratios.items())
        return f"{words} times", max(ratio["median"] for ratio in ratios.values()) <= most

    return verdict


def _shared(result: Result, slow: int) -> dict[str, Any]:
    rows = of_part(result["rows"], "shared")
    return found(row for row in rows if row["made_by"] == "servers" and row["trainers"] > 1 and row["slow"] == slow)[0]


def shared(most_made: float, most_cpu: float) -> Callable[[Result], Verdict]:
    """Return a judge of what trainers of like pace make and cost, relative to an epoch and to one trainer."""

    def verdict(result: Result) -> Verdict:
        row = _shared(result, 0)
        made, cpu = row["made"]["max"], times_one(result["rows"], row, "cpu_s")
        return f"{made:.2f} times at most, CPU time {cpu:.2f} times", made <= most_made and cpu <= most_cpu

    return verdict


def slow_trainer(most_made: float, most_lost: float) -> Callable[[Result], Verdict]:
    """Return a judge of what a slow trainer costs: batches that are made again, and speed that the others lose."""

    def verdict(result: Result) -> Verdict:
        alike, slow = _shared(result, 0), _shared(result, 1)
        made, lost = slow["made"]["max"], 1 - alike["seconds"]["median"] / slow["seconds"]["median"]
        return f"{made:.2f} times, the others lose {lost:.1%}", made <= most_made and lost <= most_lost

    return verdict


def faults(result: Result) -> Verdict:
    """Judge the longest wait after each fault, and whether the batches were the same."""
    rows = found(of_part(result["rows"], "faults"))
    words = ", ".join(f"{row['after_s']['max']:.2f}" for row in rows)
    met = all(row["same"] and row["after_s"]["max"] <= row["most_s"] for row in rows)
    return f"{words} s, the same batches: {'yes' if all(row['same'] for row in rows) else 'no'}", met


def memory(most: float) -> Callable[[Result], Verdict]:
    """Return a judge of the growth of a server's memory."""

    def verdict(result: Result) -> Verdict:
        growth, batches = result["settings"]["memory_growth"], result["settings"]["soak_batches"]
        return f"{growth:+.1%} over {batches:,} batches", growth <= most and batches >= 10_000

    return verdict


def start(most_s: float) -> Callable[[Result], Verdict]:
    """Return a judge of the time to the first batch."""

    def verdict(result: Result) -> Verdict:
        seconds = of_part(result["rows"], "start")[0]["seconds"]
        return f"{extent(seconds)} s", seconds["median"] <= most_s

    return verdict
