"""Read columns of samples.parquet and splits.parquet, and check what they say, whole columns at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gtzan_stream.errors import UserError, first_line

_WORDS = {"key", "clip_id", "shard", "encoding", "label", "sha256", "split", "part"}
_REPEATED = ["shard", "label", "encoding", "split", "part"]  # read as codes and a short list of words
_INTEGERS = {"key_hash": pa.uint64(), "clip": pa.int32()}  # the others are int64
_MOST_FRAMES = 2**40  # so that a length times a rate fits in 64 bits
_MOST_HZ = 2**31


def read_columns(path: Path, columns: list[str], **choice: Any) -> pa.Table:
    """Read columns of a table, and give back at once the memory that reading took.

    Raises
    ------
    UserError
        If the table cannot be read, or a column has another type than `pack` writes, or lacks a value.
    """
    try:
        table = pq.read_table(path, columns=columns, read_dictionary=_REPEATED, pre_buffer=False, **choice)
        table = pa.table({name: _checked(name, table[name]) for name in columns})
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, KeyError, IndexError, ValueError) as error:
        raise damaged(path, error) from error
    pa.default_memory_pool().release_unused()
    return table


def damaged(path: Path, error: Exception) -> UserError:
    """What to raise for a table that is not as it should be."""
    return UserError(f"{path} cannot be read ({first_line(error)}): copy or pack the set again")


def _checked(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column in the type that `pack` writes."""
    of = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if name in _WORDS:
        right = pa.types.is_string(of) or pa.types.is_large_string(of)
    else:
        right = pa.types.is_integer(column.type)
    if not right:
        raise ValueError(f"its column {name} has the type {column.type}")
    if column.null_count:
        raise ValueError(f"its column {name} lacks {column.null_count} of {len(column)} values")
    return column if name in _WORDS else column.cast(_INTEGERS.get(name, pa.int64()))


def codes(column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
    """Position of each entry in `names`, int32 [clip]; -1 for what is not there."""
    return pc.fill_null(pc.index_in(column, pa.array(names, pa.string())), -1).to_numpy()


def check_clips(shard: np.ndarray, label: np.ndarray, frames: np.ndarray, clip_rate: np.ndarray) -> None:
    """Raise ValueError if there is no clip, or one lacks a shard or label, or has an impossible length or rate."""
    if not len(shard) or min(shard.min(), label.min(), frames.min() - 1, clip_rate.min() - 1) < 0:
        raise ValueError("a clip has no shard, label, length or sample rate")
    if frames.max() > _MOST_FRAMES or clip_rate.max() > _MOST_HZ:
        raise ValueError(f"a clip has {frames.max()} samples or a rate of {clip_rate.max()} Hz")


def check_offsets(offset: np.ndarray, size: np.ndarray, shard: np.ndarray, shard_sizes: Sequence[int]) -> None:
    """Raise ValueError if a clip does not lie in its shard; all in bytes."""
    last = np.array(shard_sizes, np.int64)[shard]
    last -= size  # by subtraction, as the sum of two wrong numbers might not fit in 64 bits
    if offset.min() < 0 or size.min() < 0 or (offset > last).any():
        raise ValueError("a clip lies outside its shard")


def check_split(rows: pa.Table, counts: Mapping[str, int], n_clips: int) -> None:
    """Raise ValueError if the rows of a split are not those that manifest.json counts, or name a clip wrongly."""
    found = {row["values"]: row["counts"] for row in pc.value_counts(rows["part"]).to_pylist()}
    if found != counts:
        raise ValueError(f"it has {found or 'no'} clips, manifest.json says {dict(counts)}")
    clip = rows["clip"].to_numpy()
    if len(clip) and not 0 <= clip.min() <= clip.max() < n_clips:
        raise ValueError(f"it names clips {clip.min()} to {clip.max()}, there are 0 to {n_clips - 1}")
    named = np.zeros(n_clips, bool)
    named[clip] = True
    if np.count_nonzero(named) != len(clip):
        raise ValueError("it names a clip twice")
