"""A folder of shards in a few figures."""

from collections import Counter
from typing import Any

import numpy as np

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
