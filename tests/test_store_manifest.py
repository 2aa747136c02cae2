"""The manifest: columns, splits, digest, errors, and the time and memory to open a large one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gtzan_stream.dsp.random import hash_key
from gtzan_stream.errors import UserError
from gtzan_stream.store import tables
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack


def test_columns_are_those_of_the_table(shards: Path):
    manifest = Manifest.open(shards)
    table = pq.read_table(shards / "samples.parquet")
    position = {"shard", "member_offset", "member_size", "data_offset", "data_size"}
    content = {"frames", "sample_rate", "channels", "encoding", "label", "sha256"}
    assert set(table.column_names) == {"key", "clip_id", "key_hash"} | position | content
    assert [manifest.shards[code].name for code in manifest.shard] == table["shard"].to_pylist()
    assert [manifest.labels[code] for code in manifest.label] == table["label"].to_pylist()
    assert manifest.key_hash.tolist() == [hash_key(key) for key in table["key"].to_pylist()]
    assert manifest.direct.all()
    assert (manifest.data_size == 2 * manifest.frames).all()
    offsets = list(zip(manifest.shard.tolist(), manifest.data_offset.tolist(), strict=True))
    assert offsets == sorted(offsets)
    for shard in range(len(manifest.shards)):  # the order by hash mixes the labels
        hashes = manifest.key_hash[manifest.shard == shard].tolist()
        assert hashes == sorted(hashes)


def test_parts_are_those_of_the_table(shards: Path):
    manifest = Manifest.open(shards)
    assert {"three", "stratified", *(f"folds-{i}" for i in range(5))} <= set(manifest.parts_by_split())
    rows = pq.read_table(shards / "splits.parquet").to_pylist()
    keys = manifest.keys.to_pylist()
    for split, parts in manifest.parts_by_split().items():
        for part in parts:
            expected = {row["key"] for row in rows if (row["split"], row["part"]) == (split, part)}
            clips = manifest.part(split, part)
            assert {keys[clip] for clip in clips} == expected
            assert (np.diff(clips) > 0).all()


def test_the_study_keeps_eight_labels(tmp_path: Path):
    from tests.conftest import write_wav

    genres = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]
    rng = np.random.default_rng(0)
    for genre in genres:
        for i in range(29, 32):
            write_wav(tmp_path / f"src/{genre}/{genre}.{i:05d}.wav", 0.1 * rng.standard_normal(1000))
    manifest = pack(tmp_path / "src", tmp_path / "out")
    assert manifest.labels == manifest.labels_of("filtered") == genres
    assert manifest.labels_of("study") == genres[1:-1]


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_shards_names_the_commands_that_make_some(exists: bool, tmp_path: Path):
    root = tmp_path / "shards"
    if exists:
        root.mkdir()
    with pytest.raises(UserError, match=f"`gtzan-stream demo {root}`.*`gtzan-stream pack MUSIC {root}`"):
        Manifest.open(root)


def test_a_wrong_split_or_part_lists_the_existing_ones(shards: Path):
    manifest = Manifest.open(shards)
    with pytest.raises(UserError, match=r"no split 'filtred': choose one of .*three, stratified, folds-0"):
        manifest.part("filtred", "train")
    with pytest.raises(UserError, match="no part 'dev': choose one of train, valid, test"):
        manifest.part("three", "dev")
    with pytest.raises(UserError, match="no split 'studi'"):
        manifest.labels_of("studi")


def test_equal_data_has_an_equal_digest(shards: Path, copy: Path, clips_folder: Path, tmp_path: Path):
    digest = Manifest.open(shards).digest
    assert Manifest.open(copy).digest == digest
    assert pack(clips_folder, copy, shard_mb=1).digest != digest  # without the split
    other = pack(clips_folder, tmp_path / "other", splits=shards.parent / "three.csv", shard_mb=1, num_workers=1)
    assert other.digest == digest


def test_a_missing_file_is_named(copy: Path):
    shard = Manifest.open(copy).shards[1].name
    (copy / shard).unlink()
    with pytest.raises(UserError, match=rf"{shard} is missing, though manifest\.json lists it"):
        Manifest.open(copy)


@pytest.mark.parametrize("kind", ["shard", "table"])
def test_a_file_of_another_size_is_named(kind: str, copy: Path):
    name = Manifest.open(copy).shards[1].name if kind == "shard" else "splits.parquet"
    size = (copy / name).stat().st_size
    os.truncate(copy / name, size - 100)
    message = rf"{name} has {size - 100} bytes, manifest\.json says {size}: copy or pack the set again, or list"
    with pytest.raises(UserError, match=message):
        Manifest.open(copy)
    os.truncate(copy / Manifest.open(copy, check_sizes=False).shards[0].name, 1)
    with pytest.raises(UserError, match=r"\(1 more file with a wrong size\)"):
        Manifest.open(copy)


def test_a_table_that_is_missing_or_damaged_is_named(copy: Path):
    (copy / "samples.parquet").write_bytes(bytes((copy / "samples.parquet").stat().st_size))
    with pytest.raises(UserError, match=r"samples\.parquet cannot be read .*copy or pack the set again"):
        Manifest.open(copy)
    (copy / "samples.parquet").unlink()
    with pytest.raises(UserError, match=r"samples\.parquet is missing"):
        Manifest.open(copy)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "other", "format_version": 1}', "{}", "\x00"])
def test_a_file_that_is_not_a_manifest_is_one_user_error(text: str, copy: Path):
    (copy / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json .*pack the set again"):
        Manifest.open(copy)


def write_large(root: Path, n: int) -> None:
    """Write a manifest of `n` clips; the shards are empty files of the expected size."""
    number = np.arange(n)
    keys = [f"rock_{i:07d}" for i in range(n)]
    shards = [f"large-{i:06d}.tar" for i in range(-(-n // 500))]
    columns = {
        "key": keys,
        "clip_id": keys,
        "shard": [shards[i // 500] for i in range(n)],
        "member_offset": number % 500 * 1_323_044,
        "member_size": np.full(n, 1_323_044),
        "data_offset": number % 500 * 1_323_044 + 44,
        "data_size": np.full(n, 1_323_000),
        "frames": np.full(n, 661_500),
        "sample_rate": np.full(n, 22050),
        "channels": np.full(n, 1),
        "encoding": ["pcm16"] * n,
        "label": ["rock"] * n,
        "sha256": [f"{i:064x}" for i in range(n)],
        "key_hash": number.astype(np.uint64),
    }
    tables.write_sample_columns(root / "samples.parquet", {name: pa.array(column) for name, column in columns.items()})
    splits = {f"split-{j}": {key: ["train", "test"][(i + j) % 2] for i, key in enumerate(keys)} for j in range(2)}
    counts = tables.write_splits(root / "splits.parquet", keys, splits)
    for name in shards:
        (root / name).touch()
        os.truncate(root / name, 500 * 1_323_044)
    tables.write_manifest(
        root,
        origin="pack",
        dataset="large",
        sample_rate=22050,
        labels=["rock"],
        shards=[{"name": name, "size": 500 * 1_323_044, "sha256": "0" * 64} for name in shards],
        clips=n,
        splits=counts,
        left_out=0,
        report=[],
    )


OPEN_LARGE = """
import resource, sys
from gtzan_stream.store.manifest import Manifest
Manifest.open(sys.argv[1]).part("stratified", "train")
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
clips = Manifest.open(sys.argv[2]).part("split-1", "train")
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
lines = 0
def count(frame, event, argument):
    global lines
    lines += 1
    return count
sys.settrace(count)
Manifest.open(sys.argv[2]).part("split-1", "train")
sys.settrace(None)
print(lines, memory / 1024, len(clips))
"""


def test_a_manifest_of_a_hundred_thousand_clips_opens_without_a_loop_over_clips(shards: Path, tmp_path: Path):
    """Python executes less than a line a clip, in little memory; there are 200 shards."""
    write_large(tmp_path, 100_000)
    command = [sys.executable, "-c", OPEN_LARGE, str(shards), str(tmp_path)]
    lines, megabytes, clips = map(
        float, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    )
    assert clips == 50_000
    assert lines < 100_000
    assert megabytes < 60
