"""Write what stands beside the shards: samples.parquet, splits.parquet and manifest.json."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gtzan_stream.dsp.random import hash_keys
from gtzan_stream.store.issues import Issue
from gtzan_stream.store.shards import Row

FORMAT = "gtzan-stream"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SAMPLES = "samples.parquet"
SPLITS = "splits.parquet"
PARTS = ("train", "valid", "test")


def write_samples(path: Path, rows: Sequence[Row]) -> None:
    """Write a row a clip; clip number i everywhere else is row i of this table."""
    columns = {field.name: pa.array([getattr(row, field.name) for row in rows]) for field in fields(Row)}
    columns["key_hash"] = pa.array(hash_keys([row.key for row in rows]), pa.uint64())
    write_sample_columns(path, columns)


def write_sample_columns(path: Path, columns: Mapping[str, pa.Array]) -> None:
    """Write samples.parquet from whole columns."""
    table = pa.table(dict(columns))
    with path.open("wb") as file:  # Arrow's own files have errors without a number
        pq.write_table(table, file, use_dictionary=["shard", "label", "encoding", "sample_rate", "channels"])


def write_splits(path: Path, keys: Sequence[str], splits: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, int]]:
    """Write uniform rows (key, split, part, clip), one row group a split, so that a reader takes only what it needs.

    Keys that no clip has are left out. Returns the number of clips by split and part.
    """
    schema = pa.schema([("key", pa.string()), ("split", pa.string()), ("part", pa.string()), ("clip", pa.int32())])
    counts = {}
    with path.open("wb") as file, pq.ParquetWriter(file, schema, use_dictionary=["split", "part"]) as writer:
        for name, part_of in splits.items():
            clips = np.array([i for i, key in enumerate(keys) if key in part_of], np.int32)
            chosen = [keys[i] for i in clips]
            parts = [part_of[key] for key in chosen]
            columns = [pa.array(chosen, pa.string()), [name] * len(chosen), pa.array(parts, pa.string()), clips]
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
    """Write manifest.json into `folder`, for the tables that already lie there and for `shards`, described.

    `origin` is ``"pack"`` or, for shards of somebody else's, ``"index"``; `left_out` counts the files with sound that
    are not in the set, for which the report has the reasons.
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
        "report": [oddity.as_dict() for oddity in sorted(report, key=Issue.rank)],
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def describe_file(path: Path) -> dict[str, Any]:
    """Name, size in bytes and sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.name, "size": path.stat().st_size, "sha256": digest}
