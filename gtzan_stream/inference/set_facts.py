"""What the preview page says about a set of shards: clips by label and part, durations, levels, issues."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gtzan_stream.catalog.splits import PARTS
from gtzan_stream.store.levels import levels_db
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.summary import summary
from gtzan_stream.words import count

N_LEVELS = 200
"""Clips of which the level is measured, evenly spread over the set."""
N_BARS = 30
"""Bars of a histogram."""


def set_facts(
    manifest: Manifest, split: str | None, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Describe a set of shards for the template "preview.html".

    Parameters
    ----------
    manifest : Manifest
    split : str, optional
        Whose parts are counted; without it, only clips are.
    progress : callable (done, total)
        Called while levels are measured.
    """
    seconds = manifest.native_frames / manifest.clip_rate
    is_local = manifest.folder.cache_state() is None  # levels of a remote set would download all of it
    spread = np.unique(np.linspace(0, len(manifest) - 1, min(N_LEVELS, len(manifest))).round().astype(np.int64))
    levels = levels_db(manifest, spread, progress=progress) if is_local else np.empty(0)
    facts = summary(manifest)
    return {
        **facts,
        "parts": _parts(manifest, split),
        "rows": _rows(manifest, split),
        "split": split,
        "durations": _histogram(seconds, "s"),
        "level_counts": _histogram(levels[np.isfinite(levels)], "dB"),
        "levels_of": count(len(spread), "clip") if is_local else "",
        "n_unreadable": int(np.isnan(levels).sum()),
        "shown_issues": facts["report"][:200],
        "n_issues": len(manifest.report),
    }


def _parts(manifest: Manifest, split: str | None) -> list[str]:
    """List the parts of a split in their usual order."""
    return [part for part in PARTS if split is not None and part in manifest.split_counts[split]]


def _rows(manifest: Manifest, split: str | None) -> list[tuple[str, list[int]]]:
    """Count the clips of each label: in the whole set, then in each part of the split."""
    parts = [np.arange(len(manifest))] + [manifest.part(str(split), part) for part in _parts(manifest, split)]
    counts = [np.bincount(manifest.label[clips], minlength=len(manifest.labels)) for clips in parts]
    return [(label, [int(of_part[i]) for of_part in counts]) for i, label in enumerate(manifest.labels)]


def _histogram(values: np.ndarray, unit: str) -> dict[str, Any] | None:
    """Count values in bars of equal width; None without values, and one bar if all are equal."""
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(values, bins=N_BARS if high > low else 1)
    return {"counts": counts.tolist(), "first": f"{low:.4g} {unit}", "last": f"{high:.4g} {unit}"}
