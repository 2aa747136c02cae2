"""Write the files beside the shards: samples.parquet, splits.parquet and manifest.json."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gtzan_stream.catalog.splits import PARTS
from gtzan_stream.dsp.random import hash_keys
from gtzan_stream.store.issues import Issue
from gtzan_stream.store.shards import ClipRow

FORMAT = "gtzan-stream"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SAMPLES = "samples.parquet"
SPLITS = "splits.parquet"


def write_samples(path: Path, rows: Sequence[ClipRow]) -> None:
    """Write samples.parquet, one row for each clip. Clip number i everywhere else is row i of this table."""
    columns = {field.name: pa.array([getattr(row, field.name) for row in rows]) for field in fields(ClipRow)}
    columns["key_hash"] = pa.array(hash_keys([row.key for row in rows]), pa.uint64())
    write_sample_columns(path, columns)


def write_sample_columns(path: Path, columns: Mapping[str, pa.Array]) -> None:
    """Write samples.parquet from whole columns."""
    table = pa.table(dict(columns))
    with path.open("wb") as file:  # a file that Arrow opens itself raises OSErrors without an errno
        pq.write_table(table, file, use_dictionary=["shard", "label", "encoding", "sample_rate", "channels"])


def write_splits(path: Path, keys: Sequence[str], splits: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, int]]:
    """Write splits.parquet, with rows of key, split, part and clip number, and return the counts by split and part.

    Each split is a row group of its own, so that a reader can skip the others. Keys that no clip has are left out.
    """
    schema = pa.schema([("key", pa.string()), ("split", pa.string()), ("part", pa.string()), ("clip", pa.int32())])
    counts = {}
    with path.open("wb") as file, pq.ParquetWriter(file, schema, use_dictionary=["split", "part"]) as writer:
        for name, part_of in splits.items():
            clips = np.array([i for i, key in enumerate(keys) if key in part_of], np.int32)
            split_keys = [keys[i] for i in clips]
            parts = [part_of[key] for key in split_keys]
            columns = [pa.array(split_keys, pa.string()), [name] * len(clips), pa.array(parts, pa.string()), clips]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=max(1, len(clips)))
            counts[name] = {part: parts.count(part) for part in PARTS if part in parts}
    return counts


def write_manifest(
    folder: Path,
    *,
    origin: str,
    dataset: str,
    sample_rate: int,
    labels: Sequence[str],
    shards: Sequence[dict[str, Any]],
    clips: int,
    splits: Mapping[str, Mapping[str, int]],
    left_out: int,
    report: Sequence[Issue],
) -> None:
    """Write manifest.json into `folder`, which already holds the two tables.

    Parameters
    ----------
    origin : {"pack", "index"}
        What made the set; ``"index"`` means that another program packed the shards.
    shards : list of dict
        As `describe_file` returns them.
    clips : int
        Number of clips.
    splits : mapping
        Number of clips by split and part.
    left_out : int
        Number of audio files that are not in the set; the report has the reasons.
    """
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "origin": origin,
        "dataset": dataset,
        "sample_rate": sample_rate,
        "labels": list(labels),
        "clips": clips,
        "left_out": left_out,
        "splits": splits,
        "shards": list(shards),
        "tables": [describe_file(folder / name) for name in (SAMPLES, SPLITS)],
        "report": [issue.as_dict() for issue in sorted(report, key=Issue.sort_key)],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def describe_file(path: Path) -> dict[str, Any]:
    """Return name, size in bytes and sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.name, "size": path.stat().st_size, "sha256": digest}
