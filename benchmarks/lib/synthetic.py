"""Write manifests of any size without audio, in the format that `gtzan-stream pack` writes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtzan_stream.catalog.genres import GENRES
from gtzan_stream.store import tables

CLIPS_PER_SHARD = 48  # of 30 s in 64 MB
FRAMES = 661_500
CLIP_BYTES = 2 * FRAMES + 2048
SHARD_BYTES = CLIPS_PER_SHARD * CLIP_BYTES
SPLITS = ("stratified", "folds-0")
CHUNK = 100_000


def write(folder: Path, n_clips: int) -> Path:
    """Write a manifest of `n_clips` clips of 30 s, with sparse files of the right size for its shards.

    Keys are unique; their hashes are random numbers. All checksums are equal, since start-up does not read them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.arange(n_clips)
    n_shards = -(-n_clips // CLIPS_PER_SHARD)
    names = [f"synthetic-{i:06d}.tar" for i in range(n_shards)]
    offset = numbers % CLIPS_PER_SHARD * CLIP_BYTES
    keys = pc.binary_join_element_wise("clip_", pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 8, "0"), "")
    columns = {
        "key": keys,
        "clip_id": keys,
        "shard": pa.DictionaryArray.from_arrays(pa.array(numbers // CLIPS_PER_SHARD, pa.int32()), names).cast("string"),
        "member_offset": pa.array(offset),
        "member_size": constant(2 * FRAMES + 44, n_clips),
        "data_offset": pa.array(offset + 44),
        "data_size": constant(2 * FRAMES, n_clips),
        "frames": constant(FRAMES, n_clips),
        "sample_rate": constant(22050, n_clips),
        "channels": constant(1, n_clips),
        "encoding": constant("pcm16", n_clips),
        "label": pa.DictionaryArray.from_arrays(pa.array(numbers % len(GENRES), pa.int32()), GENRES).cast("string"),
        "sha256": constant("0" * 64, n_clips),
        "key_hash": pa.array(np.random.default_rng(0).integers(0, 2**64, n_clips, np.uint64)),
    }
    tables.write_sample_columns(folder / tables.SAMPLES, columns)
    del columns
    key_list = keys.to_pylist()
    counts = tables.write_splits(folder / tables.SPLITS, key_list, dict.fromkeys(SPLITS, Parts(key_list)))
    for name in names:
        with (folder / name).open("wb") as file:
            file.truncate(SHARD_BYTES)  # sparse: takes no space on the disk
    tables.write_manifest(
        folder,
        origin="pack",
        dataset="synthetic",
        sample_rate=22050,
        labels=GENRES,
        shards=[{"name": name, "size": SHARD_BYTES, "sha256": "0" * 64} for name in names],
        clips=n_clips,
        splits=counts,
        left_out=0,
        report=[],
    )
    return folder


def constant(value: int | str, n: int) -> pa.ChunkedArray:
    """Return a column that repeats one value; its chunks share memory."""
    whole = pa.repeat(value, CHUNK)
    return pa.chunked_array([whole] * (n // CHUNK) + [whole[: n % CHUNK]])


class Parts(Mapping[str, str]):
    """A split of any number of clips that takes no memory: in the ratio 8 : 1 : 1, by the last digit of the key."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys_of_clips = keys

    def __getitem__(self, key: str) -> str:
        return {"8": "valid", "9": "test"}.get(key[-1], "train")

    def __contains__(self, key: object) -> bool:
        return True  # every key is in the split; a search would take long

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys_of_clips)

    def __len__(self) -> int:
        return len(self.keys_of_clips)
