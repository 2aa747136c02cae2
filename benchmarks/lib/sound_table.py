"""Render the results of benchmarks/sound.py and detect.py as tables with targets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.lib.common import markdown
from benchmarks.lib.contest import OURS
from benchmarks.lib.figures import milliseconds, ratio

Rows = Sequence[dict[str, Any]]
Table = tuple[list[str], list[list[str]]]
STRETCH, SHIFT = "time stretch", "pitch shift"
NEAR, FAR = (0.9, 1.1), (0.8, 1.25)
VERY_FAR = (0.5, 0.7, 1.5, 2.0)
SMALL, MIDDLE, LARGE = (-2, 2), (-4, 4), (-12, 12)


@dataclass(frozen=True)
class Measure:
    """A row of a table.

    Attributes
    ----------
    name : str
        Of the figure in the JSON.
    words : str
    digits : int
    best : float
        The ideal figure: the figure shown is the one of several rates that is farthest from it.
    targets : tuple of (lowest, highest)
        For each group of rates; () without targets.
    """

    name: str
    words: str
    digits: int
    best: float
    targets: tuple[tuple[float, float], ...] = ()


ANY = float("inf")
STRETCHED = [
    Measure("level", "level, mean of the clips, dB", 2, 0, ((-0.3, ANY), (-0.5, ANY))),
    Measure("level_worst", "level, worst clip, dB", 2, 0, ((-0.5, ANY), (-0.9, ANY))),
    Measure("drift", "level drift in a crop of 3 s, dB", 2, 0, ((-0.1, 0.1), (-0.1, 0.1))),
    Measure("contrast", "onset contrast kept", 2, 1, ((0.93, 1.02), (0.88, 1.03))),
    Measure("correlation", "correlation of onset curves", 3, 1, ((0.95, ANY), (0.92, ANY))),
    Measure("clicks_alone", "clicks within 5 ms, alone, %", 1, 100, ((99, ANY), (99, ANY))),
    Measure("clicks_chord", "clicks within 5 ms, over a chord, %", 1, 100, ((99, ANY), (99, ANY))),
    Measure("cents", "pitch of tones, cents off", 4, 0, ((-ANY, 0.01), (-ANY, 0.01))),
    Measure("snr", "SNR of tones, dB", 0, ANY, ((70, ANY), (70, ANY))),
    Measure("image", "loudest image of a tone, dB", 0, -ANY),
    Measure("purity", "purity of close partials, worst set, %", 1, 100, ((90, ANY), (85, ANY))),
    Measure("log_mel", "log-mel distance to the ideal, dB", 2, 0, ((-ANY, 1.3), (-ANY, 1.6))),
    Measure("crop", "crop against whole clip, dB", 2, 0, ((-ANY, 0.3), (-ANY, 0.3))),
    Measure("crop_anywhere", "the same, crop between two frames, dB", 2, 0),
    Measure("float64", "float32 against float64, worst clip, dB", 0, -ANY, ((-ANY, -80), (-ANY, -80))),
]
STRETCHED_FAR = [
    Measure("level", "level, mean of the clips, dB", 2, 0, ((-0.6, ANY), (-0.5, ANY), (-0.7, ANY), (-1.0, ANY))),
    Measure("clicks_alone", "clicks within 5 ms, alone, %", 1, 100, ((98, ANY),) * 4),
    Measure("clicks_chord", "clicks within 5 ms, over a chord, %", 1, 100, ((98, ANY),) * 4),
]
SHIFTED = [
    Measure("level", "level, mean of the clips, dB", 2, 0, ((-0.3, ANY), (-0.5, ANY))),
    Measure("level_worst", "level, worst clip, dB", 2, 0, ((-0.5, ANY), (-0.9, ANY))),
    Measure("contrast", "onset contrast kept", 2, 1, ((0.93, 1.02), (0.88, 1.03))),
    Measure("correlation", "correlation of onset curves", 3, 1, ((0.95, ANY), (0.92, ANY))),
    Measure("cents", "pitch of tones, cents off", 4, 0, ((-ANY, 0.01), (-ANY, 0.01), (-ANY, 0.01))),
    Measure("snr", "SNR of tones, dB", 0, ANY, ((70, ANY), (70, ANY), (70, ANY))),
    Measure("image", "loudest image of a tone, dB", 0, -ANY, ((-ANY, -70), (-ANY, -70), (-ANY, -70))),
    Measure("purity", "purity of close partials, worst set, %", 1, 100, ((90, ANY), (85, ANY))),
    Measure("log_mel", "log-mel distance to the ideal, dB", 2, 0, ((-ANY, 1.3), (-ANY, 1.6))),
]
COST_TARGET = 1.5
"""The most that our stretch may take, relative to the phase vocoder."""


def worst(figures: Sequence[float], best: float) -> float:
    """Return the figure that is farthest from `best`; with an infinite one, the lowest or the highest."""
    if best in (ANY, -ANY):
        return min(figures) if best > 0 else max(figures)
    return max(figures, key=lambda figure: abs(figure - best))


def find(rows: Rows, operation: str, method: str, measure: Measure, values: Sequence[float]) -> float | None:
    """Return the worst figure of a method over `values`; None if it was not measured."""
    figures = [
        row["figures"][measure.name]
        for row in rows
        if (row["operation"], row["method"]) == (operation, method)
        and row.get("value") in values
        and measure.name in row["figures"]
    ]
    return worst(figures, measure.best) if figures else None


def names(rows: Rows) -> list[str]:
    """Return the methods, ours first."""
    return list(dict.fromkeys(row["method"] for row in rows))


def meets(figure: float | None, target: tuple[float, float]) -> bool:
    return figure is not None and target[0] <= figure <= target[1]


def bound(target: tuple[float, float], digits: int) -> str:
    """Write a target: "at least 99", "at most 0.3", "0.93 to 1.02"."""
    low, high = target
    digits = min(digits, 2)
    if high == ANY:
        return f"at least {low:.{digits}f}"
    return f"at most {high:.{digits}f}" if low == -ANY else f"{low:.{digits}f} to {high:.{digits}f}"


def compared(rows: Rows, operation: str, measures: Sequence[Measure], groups: Sequence[Sequence[float]]) -> Table:
    """Return a row for each measure: the worst of each group of rates, by method, the target and if it is met."""
    methods = names([row for row in rows if row["operation"] == operation])
    with_targets = any(measure.targets for measure in measures)
    cells = []
    for measure in measures:
        figures = {name: [find(rows, operation, name, measure, group) for group in groups] for name in methods}
        line = [measure.words]
        if with_targets:
            bounds = [bound(target, measure.digits) for target in measure.targets]
            bounds = bounds[:1] if len(set(bounds)) == 1 else bounds
            met = [meets(figure, t) for figure, t in zip(figures[OURS], measure.targets, strict=False)]
            words = "yes" if all(met) else " / ".join("yes" if yes else "**no**" for yes in met)
            line += [" / ".join(bounds), words if measure.targets else ""]
        cells.append(line + [_together(figures[name], measure.digits) for name in methods])
    return ["", *(["target", "met"] if with_targets else []), *methods], cells


def _together(figures: Sequence[float | None], digits: int) -> str:
    if all(figure is None for figure in figures):
        return ""
    return " / ".join("" if figure is None else f"{figure:.{digits}f}" for figure in figures)


def cost(rows: Rows) -> Table:
    """Return the time of each method for a clip, and relative to the phase vocoder, with the target for stretches."""
    methods, cells = names(rows), []
    times = {(row["operation"], row["method"]): row for row in rows if "ms_per_clip" in row}
    for operation in (STRETCH, SHIFT):
        found = [times[operation, name] for name in methods]
        relative = {row["method"]: row["times_vocoder"]["median"] for row in found}
        target = [f"at most {COST_TARGET}", "yes" if relative[OURS] <= COST_TARGET else "**no**"]
        ms = [milliseconds(row["ms_per_clip"]["median"]) for row in found]
        cells.append([f"{operation}, ms a clip", "", "", *ms])
        cells.append(
            [f"{operation}, times the vocoder", *(target if operation == STRETCH else ["", ""])]
            + [ratio(times_vocoder) for times_vocoder in relative.values()]
        )
    return ["", "target", "met", *methods], cells


def every(rows: Rows) -> dict[str, Table]:
    """Return all tables by title."""
    measured = [row for row in rows if "figures" in row]
    return {
        "Time stretch, worst of rates 0.9 and 1.1 / of 0.8 and 1.25": compared(
            measured, STRETCH, STRETCHED, (NEAR, FAR)
        ),
        "Time stretch, rates 0.5 / 0.7 / 1.5 / 2": compared(
            measured, STRETCH, STRETCHED_FAR, [(rate,) for rate in VERY_FAR]
        ),
        "Pitch shift, worst of 2 semitones up and down / of 4 / of 12": compared(
            measured, SHIFT, SHIFTED, (SMALL, MIDDLE, LARGE)
        ),
        "Cost, one core, a clip of 30 s": cost(rows),
    }


BRIEF = "level", "contrast", "clicks_chord", "purity", "log_mel", "crop", "crop_anywhere"
"""Measures that the README shows."""


def brief(rows: Rows) -> Table:
    """Return the table of the README: some measures of time stretches at rates near 1, and their cost."""
    columns, cells = compared(
        [row for row in rows if "figures" in row and row["method"] not in (f"{OURS}, plain torch", "librosa")],
        STRETCH,
        [replace(measure, targets=()) for measure in STRETCHED if measure.name in BRIEF],
        (NEAR,),
    )
    ms = {
        row["method"]: row["ms_per_clip"]["median"]
        for row in rows
        if "ms_per_clip" in row and row["operation"] == STRETCH
    }
    return columns, [
        *cells,
        ["time, ms for a clip of 30 s on one core", *(milliseconds(ms[name]) for name in columns[1:])],
    ]


DETECTED_TARGET = 0.6
"""The largest share of crops that a network may classify correctly, for our stretch."""


def detected(rows: Rows) -> Table:
    """Return the accuracy of a network that was trained to tell stretched crops from others, by method."""
    cells = []
    for row in rows:
        met = "" if row["method"] != OURS else "yes" if row["accuracy"] <= DETECTED_TARGET else "**no**"
        target = f"at most {100 * DETECTED_TARGET:.0f} %" if row["method"] == OURS else ""
        share = f"{100 * row['accuracy']:.0f} % ± {100 * row['half_interval']:.0f}"
        cells.append([row["method"], share, target, met])
    return ["", "crops classified correctly", "target", "met"], cells


def of_detect(result: dict[str, Any]) -> str:
    """Render the section of report.md on detection."""
    settings = result["settings"]
    return (
        "A small network was trained to tell crops of a second, stretched at rates of "
        f"{settings['rates'][0]} to {settings['rates'][1]}, from untouched crops of other clips. Tested: "
        f"{settings['tested']} clips of {settings['dataset']} that it had not met, {settings['crops']} crops each, in "
        f"{settings['folds']} folds. Chance is 50 %, which `nothing` (no stretch at all) must be at. The intervals are "
        "95 % ones over clips.\n\n" + markdown(*detected(result["rows"]))
    )


def section(result: dict[str, Any]) -> str:
    """Render the section of report.md."""
    settings, rows = result["settings"], result["rows"]
    parts = [
        f"{len(settings['clips'])} clips of 6 s from {settings['dataset']} ({settings['some']} of them for pitch "
        "shifts and the rates of the second table), clicks, tones and close partials; means over the clips, unless a "
        "row says worst. `lib/sound_measures.py` defines the measures. Only our methods make crops of a stretched "
        "clip; the drift of the others is that of a segment stretched alone. Plain torch computes what gtzan-stream "
        "computes: it was only measured on stretched clips."
    ]
    for title, table in every(rows).items():
        parts += [f"**{title}**", markdown(*table)]
    return "\n\n".join([*parts, "![Sound against cost of time stretches](results/sound-cpu.png)"])
