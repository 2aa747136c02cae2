"""Verifying names every member, shard and table that differs from the manifest."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream.store.index import index
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.verify import verify
from tests.test_store_index import sound, write


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def test_an_intact_set_has_no_problems(shards: Path):
    calls = []
    assert verify(Manifest.open(shards), progress=lambda done, total: calls.append((done, total))) == []
    total = sum(shard.size for shard in Manifest.open(shards).shards)
    assert calls[-1] == (total, total)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert len(calls) == len(Manifest.open(shards)) + 1


def test_progress_of_index_counts_the_bytes_of_all_shards_and_names_each_stage(tmp_path: Path):
    ends, calls = [], list[tuple[str, int, int | None]]()
    for name in "ab":
        write(tmp_path / f"{name}.tar", [{"__key__": f"rock_{name}{i}", "wav": sound(i)} for i in range(2)])
        with tarfile.open(tmp_path / f"{name}.tar") as tar:
            ends += [member.offset_data + member.size for member in tar]
    size = (tmp_path / "a.tar").stat().st_size
    index(tmp_path, progress=lambda *stage: calls.append(stage))
    total = size + (tmp_path / "b.tar").stat().st_size
    assert calls[:4] == [("reading shards", end, total) for end in (*ends[:2], size + ends[2], size + ends[3])]
    assert calls[4:] == [("computing checksums", 0, 2), ("computing checksums", 1, 2), ("writing tables", 0, None)]


def test_a_flipped_bit_in_a_clip_is_found(copy: Path):
    manifest = Manifest.open(copy)
    clip = 1
    shard = manifest.shards[manifest.shard[clip]].name
    flip(copy / shard, int(manifest.data_offset[clip]) + 100)
    problems = verify(manifest)
    assert len(problems) == 2
    assert problems[0].startswith(f"{copy / shard}: sha256 ")
    assert problems[1] == f"{copy / shard}, key {manifest.keys[clip]}: its sha256 differs from the manifest's"


def test_a_flipped_bit_in_a_json_member_is_found(copy: Path):
    manifest = Manifest.open(copy)
    shard = copy / manifest.shards[0].name
    flip(shard, 600)  # in the first member, a .json
    (problem,) = verify(manifest)
    assert problem.startswith(f"{shard}: sha256 ")


@pytest.mark.parametrize("rate", [22050, 8000])
def test_a_wrong_length_or_rate_in_the_table_is_named(rate: int, tmp_path: Path):
    """The shard is intact; only the table is wrong."""
    samples = [{"__key__": f"rock_{i}", "flac": sound(i, "FLAC", rate=hz)} for i, hz in enumerate((22050, 22050, 8000))]
    write(tmp_path / "x.tar", samples, 0)
    manifest = index(tmp_path).resampled(rate)
    assert verify(manifest) == []
    frames, hz = manifest.native_frames, manifest.clip_rate
    for clip, key in enumerate(manifest.keys.to_pylist()):
        for more in (1, -1):
            manifest.native_frames, manifest.clip_rate = frames + more * (np.arange(3) == clip), hz
            prefix = f"{tmp_path}/x.tar, key {key}: 5000 samples at {hz[clip]} Hz, the manifest says"
            assert verify(manifest) == [f"{prefix} {5000 + more} at {hz[clip]}"]
            manifest.native_frames, manifest.clip_rate = frames, hz + more * (np.arange(3) == clip)
            assert verify(manifest) == [f"{prefix} 5000 at {hz[clip] + more}"]


def test_the_members_that_a_truncated_shard_lost_are_named(copy: Path):
    manifest = Manifest.open(copy)
    shard = copy / manifest.shards[0].name
    clips = (manifest.shard == 0).nonzero()[0]
    assert len(clips) > 1
    os.truncate(shard, int(manifest.data_offset[clips[-1]]) + 1000)
    problems = verify(manifest)
    assert len(problems) == 3
    assert "bytes, the manifest says" in problems[0]
    assert problems[1].startswith(f"{shard}, key {manifest.keys[int(clips[-1])]}: the shard ends after 1044 of the ")
    assert problems[2].startswith(f"{shard}: the shard ends at byte ")


def test_a_changed_table_is_found(copy: Path):
    manifest = Manifest.open(copy)
    with (copy / "splits.parquet").open("ab") as file:
        file.write(b"\0")
    (problem,) = verify(manifest)
    assert problem.startswith(f"{copy / 'splits.parquet'}: ")


def test_damage_that_index_reported_is_not_a_problem(tmp_path: Path):
    """The same damage in another shard is a problem."""
    for name in ("a", "b"):
        write(tmp_path / f"{name}.tar", [{"__key__": f"{name}_{i}", "wav": sound(ord(name) + i)} for i in range(3)], 0)
    with tarfile.open(tmp_path / "a.tar") as tar:
        offset = tar.getmembers()[1].offset
    flip(tmp_path / "a.tar", offset)
    manifest = index(tmp_path)
    assert manifest.keys.to_pylist() == ["a_0", "a_2", "b_0", "b_1", "b_2"]
    assert verify(manifest) == []
    flip(tmp_path / "b.tar", offset)
    problems = verify(manifest)
    assert len(problems) == 3
    assert problems[0].startswith(f"{tmp_path}/b.tar: sha256 ")
    assert problems[1] == f"{tmp_path}/b.tar, key b_1: it is not in the shard any more"
    assert problems[2].startswith(f"{tmp_path}/b.tar: no tar header at byte {offset}: ")


def test_members_and_labels_that_changed_are_named(tmp_path: Path):
    samples = [{"__key__": str(i), "wav": sound(i), "cls": b"rock"} for i in range(3)]
    write(tmp_path / "x.tar", samples, 0)
    manifest = index(tmp_path)
    write(
        tmp_path / "x.tar",
        [samples[0] | {"cls": b"jazz"}, samples[2], {"__key__": "new", "wav": sound(9), "cls": b"a"}],
        0,
    )
    problems = [problem.removeprefix(f"{tmp_path}/x.tar") for problem in verify(manifest)]
    assert problems[1:3] == [
        ", key 0: its label is jazz, the manifest says rock",
        ", key 1: it is not in the shard any more",
    ]
    assert problems[3].startswith(", key 2: it is at byte ")
    assert problems[4] == ", key new: the manifest does not list this clip; index or pack the set again"
    assert len(problems) == 5
