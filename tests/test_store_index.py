"""Indexing shards that another program packed."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import webdataset

from gtzan_stream.errors import UserError
from gtzan_stream.store.index import index
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from gtzan_stream.store.verify import verify


def sound(seed: int = 0, format: str = "WAV", rate: int = 22050, frames: int = 5000) -> bytes:
    file = io.BytesIO()
    samples = (3000 * np.random.default_rng(seed).standard_normal(frames)).astype(np.int16)
    soundfile.write(file, samples, rate, format=format)
    return file.getvalue()


def write(path: Path, samples: list[dict], mtime: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file, webdataset.TarWriter(file, encoder=False, mtime=mtime) as tar:
        for sample in samples:
            tar.write(sample)
    return path


def lines(manifest: Manifest) -> list[dict[str, str]]:
    """Return the report without the issues about too few clips, which these small sets all have."""
    return [line for line in manifest.report if not line["kind"].startswith("few ")]


def labels_by_key(root: Path) -> dict[str, str]:
    manifest = index(root)
    codes = zip(manifest.keys.to_pylist(), manifest.label.tolist(), strict=True)
    return {key: manifest.labels[code] for key, code in codes}


def test_labels_are_found_in_json_cls_txt_or_key(tmp_path: Path):
    metadata = {
        "label": {"json": json.dumps({"label": "a"}).encode()},
        "genre": {"json": json.dumps({"genre": "b"}).encode(), "cls": b"7"},
        "cls": {"cls": b"c\n"},
        "txt": {"txt": b" d "},
        "e_1": {"json": b"[1, 2]"},
        "train/f_1": {},
    }
    write(tmp_path / "x.tar", [{"__key__": k, "wav": sound(i)} | more for i, (k, more) in enumerate(metadata.items())])
    assert labels_by_key(tmp_path) == {
        "label": "a", "genre": "b", "cls": "c", "txt": "d", "e_1": "e", "train/f_1": "f"
    }  # fmt: skip


def test_numeric_labels_of_shards_are_sorted_as_numbers(tmp_path: Path):
    write(tmp_path / "x.tar", [{"__key__": f"k{i}", "wav": sound(i), "cls": str(i).encode()} for i in range(11)])
    assert index(tmp_path).labels == [str(i) for i in range(11)]


def test_extensions_may_have_two_parts(tmp_path: Path):
    sample = {"__key__": "k", "audio.flac": sound(format="FLAC"), "cls": b"a", "spectrogram.npy": b"whatever"}
    write(tmp_path / "x.tar", [sample])
    manifest = index(tmp_path)
    assert manifest.frames.tolist() == [5000]
    assert manifest.column("encoding").to_pylist() == ["flac"]


def test_an_indexed_set_can_be_read_and_verified(tmp_path: Path):
    formats = ["wav", "flac", "ogg", "mp3"]
    samples = [{"__key__": f"k{i}", format: sound(i, format.upper()), "cls": b"a"} for i, format in enumerate(formats)]
    write(tmp_path / "x.tar", samples)
    manifest = index(tmp_path)
    assert verify(manifest) == []
    reader = ClipReader(manifest)
    for clip in range(4):
        reader.read(clip, -10, np.empty(5020, reader.dtype))
    assert (manifest.frames == 5000).all()


def test_parts_in_shard_names_make_a_split(tmp_path: Path):
    for part in ("train", "val", "test"):
        write(tmp_path / f"Music-{part.title()}-000.tar", [{"__key__": f"a_{part}", "wav": sound()}])
    manifest = index(tmp_path)
    keys = manifest.keys.to_pylist()
    split = {part: [keys[clip] for clip in manifest.part("shards", part)] for part in ("train", "valid", "test")}
    assert split == {"train": ["a_train"], "valid": ["a_val"], "test": ["a_test"]}


def test_the_sample_rate_is_that_of_most_clips(tmp_path: Path):
    rates = [8000, 44100, 44100, 48000]
    write(tmp_path / "x.tar", [{"__key__": f"a_{i}", "wav": sound(i, rate=rate)} for i, rate in enumerate(rates)])
    manifest = index(tmp_path)
    assert manifest.sample_rate == 44100
    assert manifest.clip_rate.tolist() == rates
    assert manifest.direct.tolist() == [False, True, True, False]


def test_bad_samples_are_reported_and_left_out(tmp_path: Path):
    samples = [
        {"__key__": "a_fine", "wav": sound()},
        {"__key__": "nolabel", "wav": sound()},
        {"__key__": "a_bad", "wav": b"no audio"},
        {"__key__": "a_empty", "wav": sound(frames=0)},
        {"__key__": "a_image", "jpg": b"a picture"},
    ]
    write(tmp_path / "x.tar", samples)
    manifest = index(tmp_path)
    assert manifest.keys.to_pylist() == ["a_fine"]
    assert {line["key"]: line["kind"] for line in lines(manifest)} == {
        "nolabel": "no label",
        "a_bad": "unreadable",
        "a_empty": "empty",
        "": "no sound",
    }
    assert manifest.left_out == 3


def test_whole_clips_of_a_truncated_shard_are_kept(tmp_path: Path):
    path = write(tmp_path / "x.tar", [{"__key__": f"a_{i}", "wav": sound(i)} for i in range(3)])
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1].offset_data
    os.truncate(path, last + 700)
    manifest = index(tmp_path)
    assert manifest.keys.to_pylist() == ["a_0", "a_1"]
    assert [(line["kind"], line["source"], line["key"]) for line in lines(manifest)] == [
        ("truncated", "x.tar", ""),
        ("truncated", "x.tar", "a_2"),
    ]


def shard_of(path: Path, n: int) -> list[tarfile.TarInfo]:
    write(path, [{"__key__": f"a_{i}", "wav": sound(i)} for i in range(n)], 0)  # time 0 needs no extended header
    with tarfile.open(path) as tar:
        return tar.getmembers()


@pytest.mark.parametrize("damage", [b"\xff", bytes(512), b"no header" * 57])
def test_a_damaged_header_is_reported_and_the_samples_after_it_are_found(damage: bytes, tmp_path: Path):
    members = shard_of(tmp_path / "x.tar", 4)
    with (tmp_path / "x.tar").open("r+b") as file:
        file.seek(members[1].offset)
        file.write(damage[:512])
    manifest = index(tmp_path)
    assert manifest.keys.to_pylist() == ["a_0", "a_2", "a_3"]
    (line,) = lines(manifest)
    assert (line["kind"], line["source"]) == ("damaged", "x.tar")
    lost = members[2].offset - members[1].offset
    assert line["detail"].startswith(f"no tar header at byte {members[1].offset}: {lost} bytes up to the next header")
    assert manifest.left_out == 1
    for clip, expected in enumerate((0, 2, 3)):
        with (tmp_path / "x.tar").open("rb") as file:
            file.seek(int(manifest.member_offset[clip]))
            assert file.read(int(manifest.member_size[clip])) == sound(expected)


@pytest.mark.parametrize("long", [False, True], ids=["a time in an extended header", "a long name before the header"])
def test_any_damaged_header_loses_at_most_one_clip(long: bool, tmp_path: Path):
    """webdataset's writer puts an extended header, with the time, before each member's header."""
    keys = [f"a_{'x' * 120 * long}{i}" for i in range(4)]
    write(tmp_path / "x.tar", [{"__key__": key, "wav": sound(i)} for i, key in enumerate(keys)], 0 if long else 0.5)
    whole = (tmp_path / "x.tar").read_bytes()
    with tarfile.open(tmp_path / "x.tar") as tar:
        bounds = [(member.offset, member.offset_data) for member in tar.getmembers()]
    blocks = [block for first, data in bounds for block in (first, data - 512)]  # every header
    for block in blocks:
        damaged = bytearray(whole)
        damaged[block] ^= 0xFF
        (tmp_path / "x.tar").write_bytes(damaged)
        manifest = index(tmp_path)
        hit = next(i for i, (first, data) in enumerate(bounds) if first <= block < data)
        found = manifest.keys.to_pylist()
        assert [key for i, key in enumerate(keys) if i != hit] == [
            key for key in found if key in keys and key != keys[hit]
        ]
        assert "damaged" in {line["kind"] for line in lines(manifest)}, block


def test_an_empty_shard_is_reported(tmp_path: Path):
    write(tmp_path / "full.tar", [{"__key__": "a_1", "wav": sound()}])
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "zeros.tar").write_bytes(bytes(10_240))
    found = [(line["kind"], line["source"], line["detail"]) for line in lines(index(tmp_path))]
    assert found == [("empty", name, "no files in it") for name in ("empty.tar", "zeros.tar")]


def test_concatenated_shards_are_read_to_the_end(tmp_path: Path):
    parts = [write(tmp_path / name, [{"__key__": f"{name}_1", "wav": sound(ord(name))}]).read_bytes() for name in "ab"]
    for name in "ab":
        (tmp_path / name).unlink()
    (tmp_path / "x.tar").write_bytes(b"".join(parts))
    manifest = index(tmp_path)
    assert manifest.keys.to_pylist() == ["a_1", "b_1"]
    assert lines(manifest) == []


def test_a_damaged_first_or_last_header_is_reported(tmp_path: Path):
    for name, damaged in (("first.tar", 0), ("last.tar", 1)):
        samples = [{"__key__": f"{name[0]}_{i}", "wav": sound(i)} for i in range(2)]
        with tarfile.open(write(tmp_path / name, samples, mtime=0)) as tar:
            offset = tar.getmembers()[damaged].offset
        with (tmp_path / name).open("r+b") as file:
            file.seek(offset)
            file.write(b"\xff")
    manifest = index(tmp_path)
    assert manifest.keys.to_pylist() == ["f_1", "l_0"]
    assert [(line["kind"], line["source"]) for line in lines(manifest)] == [
        ("damaged", "first.tar"),
        ("damaged", "last.tar"),
    ]
    assert "no tar header at byte 0: " in lines(manifest)[0]["detail"]
    assert lines(manifest)[1]["detail"].startswith(f"no tar header at byte {offset}, nor after it: ")


def test_indexing_a_folder_without_usable_shards_is_an_error(tmp_path: Path):
    with pytest.raises(UserError, match=r"holds no \*\.tar shards"):
        index(tmp_path)
    write(tmp_path / "x.tar", [{"__key__": "a_1", "wav": b"no audio"}])
    with pytest.raises(UserError, match=r"no clip with a label in 1 shard; the first issue: x\.tar, key a_1"):
        index(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


@pytest.mark.parametrize("shards", [["x", "y"], ["x", "x"]])
def test_keys_are_unique(shards: list[str], tmp_path: Path):
    samples = [{"__key__": key, "wav": sound(i)} for i, key in enumerate(("a_1", "a_2", "a_1"))]
    if len(set(shards)) == 1:
        write(tmp_path / "x.tar", samples)
    else:
        write(tmp_path / "x.tar", samples[:1])
        write(tmp_path / "y.tar", samples[1:])
    manifest = index(tmp_path)
    assert manifest.keys.to_pylist() == ["a_1", "a_2"]
    with (tmp_path / f"{shards[0]}.tar").open("rb") as file:
        file.seek(int(manifest.member_offset[0]))
        assert file.read(int(manifest.member_size[0])) == sound(0)
    line = next(line for line in lines(manifest) if line["key"] == "a_1")
    assert (line["kind"], line["source"]) == ("duplicate key", f"{shards[1]}.tar")
    assert manifest.left_out == 1
    assert verify(manifest) == []


def test_indexing_does_not_change_the_shards(tmp_path: Path):
    path = write(tmp_path / "x.tar", [{"__key__": "a_1", "wav": sound()}])
    before = path.read_bytes()
    index(tmp_path)
    index(tmp_path)
    assert path.read_bytes() == before
    assert tarfile.is_tarfile(path)
    assert {path.name for path in tmp_path.iterdir()} == {"x.tar", "manifest.json", "samples.parquet", "splits.parquet"}


def test_labels_of_few_clips_are_reported(tmp_path: Path):
    names = ["rock_1", "rock_2", "rock_3", "jazz_1", "jazz_2"]
    write(tmp_path / "x.tar", [{"__key__": name, "wav": sound(i)} for i, name in enumerate(names)])
    (tmp_path / "mine.csv").write_text("rock_1,train\nrock_4,test\n")
    found = [(line["kind"], line["key"]) for line in index(tmp_path, splits=tmp_path / "mine.csv").report]
    assert found == [("few clips", "jazz"), ("few for folds", "rock"), ("incomplete split", "mine")]


def test_duplicates_count_once_in_the_report_of_few_clips(tmp_path: Path):
    write(tmp_path / "x.tar", [{"__key__": f"rock_{i}", "wav": sound(i // 2)} for i in range(4)])
    details = {line["kind"]: line["detail"] for line in index(tmp_path).report}
    assert details["few clips"].startswith("rock has 4 clips in 2 groups that stay together: random splits need 3")
