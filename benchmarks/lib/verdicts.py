"""Judge measured figures: one function for each kind of aim of the project."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.lib import sound_table
from benchmarks.lib.contest import OURS, fastest_peer
from benchmarks.lib.figures import milliseconds, ratio

Verdict = tuple[str, bool]
"""The measured figure as text, and whether the aim is met."""


class NotMeasured(Exception):
    """Raised if no result has the figure that an aim needs."""


def rows_of(result: dict[str, Any], operation: str, library: str = OURS) -> list[dict[str, Any]]:
    """Return a library's rows for an operation, one for each number of cores."""
    return found(row for row in result["rows"] if (row["operation"], row["library"]) == (operation, library))


def found(rows: Iterable[dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Return the rows that are not None. Raises NotMeasured if there are none."""
    listed = [row for row in rows if row is not None]
    if not listed:
        raise NotMeasured
    return listed


def ahead(
    operation: str, least: float, *peers: str, on: Collection[Any] | None = None
) -> Callable[[dict[str, Any]], Verdict]:
    """Return a judge of the aim "at least `least` times as fast as the fastest of `peers`".

    `on` has the numbers of cores for which the aim holds; by default one and all.
    """

    def verdict(result: dict[str, Any]) -> Verdict:
        ratios = []
        for ours in found(row for row in rows_of(result, operation) if on is None or row["cores"] in on):
            (peer,) = found([fastest_peer(result["rows"], operation, ours["cores"], peers)])
            where = "the GPU" if ours["cores"] == "GPU" else f"{ours['cores']} core{'s' * (ours['cores'] > 1)}"
            times = peer["times_ours"]
            spread = f"{ratio(times['min'])} to {ratio(times['max'])}"
            ratios.append((times["median"], f"{ratio(times['median'])} ({spread}) times {peer['library']} on {where}"))
        return "; ".join(words for _, words in ratios), min(times for times, _ in ratios) >= least

    return verdict


def cheap(operations: Sequence[str], most_ms: float) -> Callable[[dict[str, Any]], Verdict]:
    """Return a judge of the aim "less than `most_ms` per clip, on one core"."""

    def verdict(result: dict[str, Any]) -> Verdict:
        ms = {op: rows_of(result, op)[0]["ms_per_clip"]["median"] for op in operations}
        return ", ".join(f"{op} {milliseconds(m)} ms" for op, m in ms.items()), max(ms.values()) < most_ms

    return verdict


def pitch_cost(result: dict[str, Any]) -> Verdict:
    """Judge the cost of the most expensive pitch shift, relative to a shift of 0."""
    costs = {row["n_steps"]: row["times_cost_at_0"] for row in result["rows"] if row["library"] == OURS}
    worst = max(costs, key=lambda n: costs[n])
    return f"{costs[worst]:.2f} times at most, at {worst} semitones", costs[worst] <= 1.3


def stage(result: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the row of the stage called `name`."""
    return found(row for row in result["rows"] if row["stage"] == name)[0]


def reading(result: dict[str, Any]) -> Verdict:
    """Judge the speed of reading crops from the shards."""
    crops = stage(result, "read")["crops_per_s"]
    words = f"{crops['median']:,.0f} ({crops['min']:,.0f} to {crops['max']:,.0f}) crops a second"
    return words, crops["median"] >= 30_000


def real_time(result: dict[str, Any]) -> Verdict:
    """Judge the speed of the loader, relative to real time."""
    times = stage(result, "loader, study")["times_real_time"]
    return f"{times:,.0f} times real time", times >= 100_000


def near_floor(result: dict[str, Any]) -> Verdict:
    """Judge how close augmentation and features come to the GPU's memory bandwidth."""
    share = stage(result, "the recipe study and the log-mel")["share"]
    return f"{share:.0%} of what memory bandwidth allows", share >= 0.5


def data_wait(most: float) -> Callable[[dict[str, Any]], Verdict]:
    """Return a judge of the aim "waits for less than the share `most` of the training time, with the recipe study"."""

    def verdict(result: dict[str, Any]) -> Verdict:
        rows = [row for row in result["rows"] if "training" in row["stage"] and row["stage"].endswith("study")]
        share = found(rows)[0]["data_wait"]
        return f"{share:.1%}", share < most

    return verdict


def flat(result: dict[str, Any]) -> Verdict:
    """Judge whether memory stays flat over a long run."""
    run = result["settings"]
    words = f"{run['host_growth']:+.1%} on the host, {run['device_growth']:+.1%} on the device"
    return f"{words}, over {run['batches']:,} batches", run["memory_is_flat"] and run["batches"] >= 10_000


def resume(result: dict[str, Any]) -> Verdict:
    """Judge the time to resume late in an epoch, relative to the time at its beginning."""
    (near, first), (far, later) = result["settings"]["resume_ms"].items()
    words = f"{first['median']:.1f} ms at {near}, {later['median']:.1f} ms at {far}"
    return words, later["median"] <= 1.1 * first["median"]


def million(result: dict[str, Any]) -> Verdict:
    """Judge time and memory to start on a million clips."""
    (row,) = found(row for row in result["rows"] if row["clips"] == 1_000_000)
    seconds, megabytes = row["seconds"]["median"], row["peak_mb"]["median"]
    return f"{seconds:.2f} s, {megabytes:.0f} MB", seconds < 2 and megabytes < 200


def loader_ahead(recipe: str, least: float) -> Callable[[dict[str, Any]], Verdict]:
    """Return a judge of the aim "at least `least` times as fast as the loader made of other libraries"."""

    def verdict(result: dict[str, Any]) -> Verdict:
        (row,) = found(row for row in result["rows"] if row["recipe"] == recipe and row["library"] != OURS)
        times = row["times_ours"]
        words = f"{ratio(times['median'])} ({ratio(times['min'])} to {ratio(times['max'])}) times"
        return words, times["median"] >= least

    return verdict


def little_lock(most_us: float) -> Callable[[dict[str, Any]], Verdict]:
    """Return a judge of the aim "at most `most_us` with the GIL for a row, without augmentation"."""

    def verdict(result: dict[str, Any]) -> Verdict:
        lock_us = found(row for row in result["rows"] if row["recipe"] == "none")[0]["lock_us"]
        return f"{lock_us:.1f} us a row", lock_us <= most_us

    return verdict


def stretch_ahead(least: Mapping[str, float]) -> Callable[[dict[str, Any]], Verdict]:
    """Return a judge of the aim "a stretch is at least so many times as fast as those of the libraries in `least`"."""

    def verdict(result: dict[str, Any]) -> Verdict:
        timed = [row for row in result["rows"] if "ms_per_clip" in row and row["operation"] == sound_table.STRETCH]
        ms = {
            row["method"].partition(" ")[0]: row["ms_per_clip"]["median"] for row in timed if "," not in row["method"]
        }
        times = {name: ms[name] / ms[OURS] for name in least if name in ms}
        if len(times) < len(least):
            raise NotMeasured
        words = ", ".join(f"{ratio(number)} times {name}" for name, number in times.items())
        return words, all(times[name] >= least[name] for name in least)

    return verdict


def sounds_right(result: dict[str, Any]) -> Verdict:
    """Judge how many of the targets of the sound of time stretches are met."""
    rows = [row for row in result["rows"] if "figures" in row]
    met = [
        sound_table.meets(sound_table.find(rows, sound_table.STRETCH, OURS, measure, rates), target)
        for measure in sound_table.STRETCHED
        for rates, target in zip((sound_table.NEAR, sound_table.FAR), measure.targets, strict=False)
    ]
    return f"{sum(met)} of {len(met)} targets", all(met)


def unheard(result: dict[str, Any]) -> Verdict:
    """Judge how often a network recognises a stretched crop."""
    (row,) = found(row for row in result["rows"] if row["method"] == OURS)
    words = f"{row['accuracy']:.0%} ± {100 * row['half_interval']:.0f}"
    return words, row["accuracy"] <= sound_table.DETECTED_TARGET
