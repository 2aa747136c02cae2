"""A folder of shards in a few figures, as JSON and as tables."""

from collections import Counter
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from gtzan_stream.store.manifest import Manifest


def summary(manifest: Manifest) -> dict[str, Any]:
    """Describe a folder of shards, for people and as JSON.

    Returns
    -------
    dict
        Names, rates in Hz, durations in hours and seconds, sizes in bytes, and clips by label, encoding and part.
    """
    seconds = manifest.frames / manifest.clip_rate
    per_label = np.bincount(manifest.label, minlength=len(manifest.labels))
    return {
        "root": str(manifest.root),
        "dataset": manifest.dataset,
        "format_version": manifest.format_version,
        "digest": manifest.digest,
        "sample_rate": manifest.sample_rate,
        "clips": len(manifest),
        "hours": round(float(seconds.sum()) / 3600, 4),
        "clip_s": {"shortest": round(float(seconds.min()), 3), "longest": round(float(seconds.max()), 3)},
        "labels": dict(zip(manifest.labels, per_label.tolist(), strict=True)),
        "encodings": dict(sorted(Counter(manifest.column("encoding").to_pylist()).items())),
        "shards": [{"name": shard.name, "size": shard.size} for shard in manifest.shards],
        "size": sum(shard.size for shard in manifest.shards),
        "splits": manifest.split_counts,
        "report": manifest.report,
    }


MOST_LINES = 40


def tables(manifest: Manifest) -> list[Table | Text]:
    """The same as tables for a terminal, the report of what was odd last."""
    facts = summary(manifest)
    hours, megabytes = facts["hours"], facts["size"] / 1e6
    head = Text(
        f"{manifest.root}: {manifest.dataset}, {len(manifest)} clips, {hours:.2f} h at {manifest.sample_rate} Hz "
        f"({', '.join(facts['encodings'])}), {len(manifest.shards)} shards, {megabytes:.1f} MB"
    )
    labels = Text("labels: " + ", ".join(f"{label} {count}" for label, count in facts["labels"].items()))
    return [head, labels, _split_table(manifest), _report_table(manifest)]


def _split_table(manifest: Manifest) -> Table:
    table = Table("split", "labels", title="splits", title_justify="left")
    parts = list(dict.fromkeys(part for counts in manifest.split_counts.values() for part in counts))
    for part in parts:
        table.add_column(part, justify="right")
    for name, counts in manifest.split_counts.items():
        table.add_row(name, str(len(manifest.labels_of(name))), *(str(counts.get(part, 0)) for part in parts))
    return table


def _report_table(manifest: Manifest) -> Table | Text:
    if not manifest.report:
        return Text("nothing odd was found when packing")
    table = Table("kind", "clip or split", "file", "what", title="report", title_justify="left")
    for line in manifest.report[:MOST_LINES]:
        table.add_row(*(Text(line[column]) for column in ("kind", "key", "source", "detail")))
    if len(manifest.report) > MOST_LINES:
        table.caption = f"{len(manifest.report) - MOST_LINES} more lines are in manifest.json and `info --json`"
    return table
