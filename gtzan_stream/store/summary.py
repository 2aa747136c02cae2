"""Summarise a set of shards in a few figures."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from gtzan_stream.store.manifest import Manifest

MAX_LINES_PER_KIND = 20  # of a report; `info --issues` shows all lines


def summary(manifest: Manifest, *, all_issues: bool = False) -> dict[str, Any]:
    """Describe a set of shards, for people and as JSON.

    Parameters
    ----------
    manifest : Manifest
    all_issues : bool
        Whether to return the whole report instead of the first 20 lines of each kind.

    Returns
    -------
    dict
        Names, rates in Hz, durations in hours and seconds, sizes in bytes, number of clips by label, encoding and part,
        number of files left out, the state of a remote set's cache, and the report: the number of lines by kind, the
        most serious first, and the lines.
    """
    seconds = manifest.native_frames / manifest.clip_rate
    per_label = np.bincount(manifest.label, minlength=len(manifest.labels))
    return {
        "root": str(manifest.root),
        "dataset": manifest.dataset,
        "format_version": manifest.format_version,
        "digest": manifest.digest,
        "sample_rate": manifest.sample_rate,
        "clips": len(manifest),
        "left_out": manifest.left_out,
        "hours": round(float(seconds.sum()) / 3600, 4),
        "clip_s": {"shortest": round(float(seconds.min()), 3), "longest": round(float(seconds.max()), 3)},
        "labels": dict(zip(manifest.labels, per_label.tolist(), strict=True)),
        "encodings": dict(sorted(Counter(manifest.column("encoding").to_pylist()).items())),
        "shards": [{"name": shard.name, "size": shard.size} for shard in manifest.shards],
        "size": sum(shard.size for shard in manifest.shards),
        "splits": manifest.split_counts,
        "cache": manifest.folder.cache_state(),
        "issues": dict(Counter(line["kind"] for line in manifest.report)),
        "report": manifest.report if all_issues else limit_lines_per_kind(manifest.report),
    }


def limit_lines_per_kind(report: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return the first 20 lines of each kind of a report."""
    n_seen: Counter[str] = Counter()
    lines = []
    for line in report:
        n_seen[line["kind"]] += 1
        if n_seen[line["kind"]] <= MAX_LINES_PER_KIND:
            lines.append(line)
    return lines
