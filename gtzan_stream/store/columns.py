"""Read columns of samples.parquet and splits.parquet, and check that their values are possible.

The checks work on whole columns, because a set may have a million clips. They make sure that no wrong value in a table
leads to a read outside a shard, an index outside a list, an overflow in 64 bits or a huge allocation later on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gtzan_stream.errors import UserError, first_line

_TEXT_COLUMNS = {"key", "clip_id", "shard", "encoding", "label", "sha256", "split", "part"}
_DICTIONARY_COLUMNS = ["shard", "label", "encoding", "split", "part"]  # few distinct values: read as integer codes
_INTEGER_TYPES = {"key_hash": pa.uint64(), "clip": pa.int32()}  # all other integer columns are int64
_MAX_FRAMES = 2**40  # so that 2 * frames * sample_rate (see `Manifest._set_sample_rate`) fits in 64 bits up to 1 MHz
_MAX_RATE_HZ = 2**31


def read_columns(path: Path, columns: list[str], **options: Any) -> pa.Table:
    """Read columns of a table, and return unused memory of Arrow's pool to the system.

    Raises
    ------
    UserError
        If the table cannot be read, or a column has another type than `pack` writes or lacks values.
    """
    try:
        table = pq.read_table(path, columns=columns, read_dictionary=_DICTIONARY_COLUMNS, pre_buffer=False, **options)
        table = pa.table({name: _checked_column(name, table[name]) for name in columns})
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, KeyError, IndexError, ValueError) as error:
        raise damaged_table(path, error) from error
    pa.default_memory_pool().release_unused()
    return table


def damaged_table(path: Path, error: Exception) -> UserError:
    """Build the error to raise for a table with wrong content."""
    return UserError(f"{path} cannot be read ({first_line(error)}): copy or pack the set again")


def _checked_column(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in the type that `pack` writes. Raises ValueError if it has another kind of type, or nulls."""
    value_type = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if name in _TEXT_COLUMNS:
        has_type = pa.types.is_string(value_type) or pa.types.is_large_string(value_type)
    else:
        has_type = pa.types.is_integer(column.type)
    if not has_type:
        raise ValueError(f"its column {name} has the type {column.type}")
    if column.null_count:
        raise ValueError(f"its column {name} lacks {column.null_count} of {len(column)} values")
    return column if name in _TEXT_COLUMNS else column.cast(_INTEGER_TYPES.get(name, pa.int64()))


def categorical_codes(column: pa.ChunkedArray, names: Sequence[str]) -> np.ndarray:
    """Return the index of each entry in `names`, int32 [clip]; -1 for an entry that `names` lacks."""
    return pc.fill_null(pc.index_in(column, pa.array(names, pa.string())), -1).to_numpy()


def check_clips(shard: np.ndarray, label: np.ndarray, frames: np.ndarray, clip_rate: np.ndarray) -> None:
    """Raise ValueError if there are no clips, or one has an unknown shard or label, or an impossible length or rate."""
    if not len(shard) or min(shard.min(), label.min(), frames.min() - 1, clip_rate.min() - 1) < 0:
        raise ValueError("a clip has no shard, label, length or sample rate")
    if frames.max() > _MAX_FRAMES or clip_rate.max() > _MAX_RATE_HZ:
        raise ValueError(f"a clip has {frames.max()} samples or a rate of {clip_rate.max()} Hz")


def check_offsets(offset: np.ndarray, size: np.ndarray, shard: np.ndarray, shard_sizes: Sequence[int]) -> None:
    """Raise ValueError if the bytes `offset` to `offset + size` of a clip are not all inside its shard."""
    last_offset = np.array(shard_sizes, np.int64)[shard]
    last_offset -= size  # subtract: the sum of two wrong numbers might not fit in 64 bits
    if offset.min() < 0 or size.min() < 0 or (offset > last_offset).any():
        raise ValueError("a clip lies outside its shard")


def check_split(name: str, rows: pa.Table, counts: Mapping[str, int], n_clips: int) -> None:
    """Raise ValueError if the rows of a split contradict manifest.json, or hold an unknown or repeated clip.

    `counts` are the numbers of clips that manifest.json states, by part.
    """
    found = {row["values"]: row["counts"] for row in pc.value_counts(rows["part"]).to_pylist()}
    for part in (*counts, *found):
        if found.get(part) != counts.get(part):
            has, stated = found.get(part, "no"), counts.get(part, "none")
            raise ValueError(f"its split {name} has {has} {part} clips, manifest.json says {stated}")
    clip = rows["clip"].to_numpy()
    if len(clip) and not 0 <= clip.min() <= clip.max() < n_clips:
        raise ValueError(f"its split {name} names clips {clip.min()} to {clip.max()}, there are 0 to {n_clips - 1}")
    is_named = np.zeros(n_clips, bool)
    is_named[clip] = True
    if np.count_nonzero(is_named) != len(clip):
        raise ValueError(f"its split {name} names a clip twice")
