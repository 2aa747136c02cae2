"""Figures as people read them."""

from collections.abc import Sequence
from typing import Any

from benchmarks.contest import OURS


def contest(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and cells of what `contest.hold` measured, for a terminal or for Markdown."""
    columns = ["operation", "cores", "library", "ms a clip", "least to greatest", "times ours", "error", "from librosa"]
    cells = []
    for row in rows:
        ms = row["ms_per_clip"]
        cells.append(
            [
                row["operation"],
                str(row["cores"]),
                row["library"] + (" *" if row["note"] else ""),
                milliseconds(ms["median"]),
                f"{milliseconds(ms['min'])} to {milliseconds(ms['max'])}",
                "" if row["library"] == OURS else ratio(row["times_ours"]["median"]),
                scientific(row["error"]),
                scientific(row["from_librosa"]),
            ]
        )
    return columns, cells


def scientific(error: float | None) -> str:
    """One figure and its power of ten; nothing for what could not be measured."""
    return "" if error is None else f"{error:.0e}"


def milliseconds(value: float) -> str:
    """Three figures: ``123``, ``12.3``, ``1.23``, ``0.123``."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"


def ratio(value: float) -> str:
    """Two figures, or all those before the point: ``0.52``, ``3.1``, ``12``, ``945``."""
    return f"{value:.{2 if value < 1 else 1 if value < 10 else 0}f}"
