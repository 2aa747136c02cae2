"""Tables with wrong values: each is one UserError that names the file and the remedy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack

REMEDY = "copy or pack the set again"


def rewrite(root: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a table, and update its size in manifest.json."""
    pq.write_table(change(pq.read_table(root / name)), root / name)
    metadata = json.loads((root / "manifest.json").read_text())
    for table in metadata["tables"]:
        table["size"] = (root / table["name"]).stat().st_size
    (root / "manifest.json").write_text(json.dumps(metadata))


def put(name: str, row: int, value: Any) -> Callable[[pa.Table], pa.Table]:
    """Return a change that sets one value of a column."""

    def change(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[row] = value
        return table.set_column(table.column_names.index(name), name, pa.array(values, table[name].type))

    return change


def cast(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    """Return a change that gives a column another type."""
    return lambda table: table.set_column(table.column_names.index(name), name, table[name].cast(kind))


def number_parts(table: pa.Table) -> pa.Table:
    """Replace parts by numbers."""
    codes = pc.index_in(table["part"], pa.array(["train", "valid", "test"]))
    return table.set_column(table.column_names.index("part"), "part", codes)


SPLIT_CHANGES = {
    "one too many": (
        lambda table: put("clip", 0, pc.max(table["clip"]).as_py() + 1)(table),
        "its split {split} names clips",
    ),
    "large": (put("clip", 0, 10**6), "its split {split} names clips"),
    "negative": (put("clip", 0, -1), "its split {split} names clips -1 to"),
    "smallest": (put("clip", 0, -(2**31)), "its split {split} names clips -2147483648"),
    "twice": (lambda table: put("clip", 0, table["clip"][1].as_py())(table), "its split {split} names a clip twice"),
    "null clip": (put("clip", 0, None), "its column clip lacks 1 of"),
    "null part": (put("part", 0, None), "its column part lacks 1 of"),
    "another part": (put("part", 0, "dev"), "its split {split} has .* clips, manifest.json says"),
    "float": (cast("clip", pa.float64()), "its column clip has the type double"),
    "text": (cast("clip", pa.string()), "its column clip has the type"),
    "64 bits": (lambda table: put("clip", 0, 2**40)(cast("clip", pa.int64())(table)), ""),
    "part as number": (number_parts, "its column part has the type int32"),
    "empty": (lambda table: table[:0], "its split {split} has no train clips, manifest.json says"),
    "shorter": (lambda table: table[1:], "manifest.json says"),
    "no clip": (lambda table: table.drop_columns("clip"), ""),
}


@pytest.mark.parametrize("case", SPLIT_CHANGES)
def test_a_malformed_split_is_one_user_error(case: str, copy: Path):
    change, message = SPLIT_CHANGES[case]
    split = pq.read_table(copy / "splits.parquet")["split"][0].as_py()
    rewrite(copy, "splits.parquet", change)
    manifest = Manifest.open(copy)
    message = message.format(split=split)
    for read in (lambda: manifest.part(split, "train"), lambda: manifest.labels_of(split)):
        with pytest.raises(UserError, match=rf"splits\.parquet cannot be read \(.*{message}.*\): {REMEDY}"):
            read()


def test_a_split_of_wider_numbers_in_another_order_is_the_same(shards: Path, copy: Path):
    rewrite(copy, "splits.parquet", lambda table: cast("clip", pa.int64())(table)[::-1])
    assert Manifest.open(copy).part("three", "test").tolist() == Manifest.open(shards).part("three", "test").tolist()


CLIP_CHANGES = {
    "null frames": (put("frames", 0, None), "its column frames lacks 1 of"),
    "null rate": (put("sample_rate", 0, None), "its column sample_rate lacks 1 of"),
    "null encoding": (put("encoding", 0, None), "its column encoding lacks 1 of"),
    "no samples": (put("frames", 0, 0), "a clip has no shard, label, length or sample rate"),
    "another shard": (put("shard", 0, "x.tar"), "a clip has no shard, label, length or sample rate"),
    "long": (put("frames", 0, 2**62), "a clip has 4611686018427387904 samples"),
    "large rate": (put("sample_rate", 0, 2**60), "or a rate of"),
    "one sample more": (
        lambda table: put("frames", 0, table["frames"][0].as_py() + 1)(table),
        "a clip's number of samples does not match the size of its data",
    ),
    "before the shard": (put("data_offset", 0, -1), "a clip lies outside its shard"),
    "after the shard": (put("data_offset", 0, 2**63 - 1), "a clip lies outside its shard"),
    "larger than the shard": (put("data_size", 0, 2**63 - 1), "a clip lies outside its shard"),
    "negative size": (put("data_size", 0, -(2**63)), "a clip lies outside its shard"),
    "float": (cast("frames", pa.float64()), "its column frames has the type double"),
    "label as number": (
        lambda table: table.set_column(table.column_names.index("label"), "label", table["channels"]),
        "its column label has the type int64",
    ),
    "empty": (lambda table: table[:0], "there are 0 clips, manifest.json says"),
    "shorter": (lambda table: table[1:], "manifest.json says"),
}


@pytest.mark.parametrize("case", CLIP_CHANGES)
def test_a_malformed_table_of_clips_is_one_user_error(case: str, copy: Path):
    change, message = CLIP_CHANGES[case]
    rewrite(copy, "samples.parquet", change)
    with pytest.raises(UserError, match=rf"samples\.parquet .*cannot be read \(.*{message}.*\): {REMEDY}"):
        Manifest.open(copy)


@pytest.mark.parametrize(("column", "value"), [("member_offset", -1), ("member_size", -1), ("member_size", 2**62)])
def test_a_member_outside_its_shard_is_one_user_error(column: str, value: int, clips_folder: Path, tmp_path: Path):
    pack(clips_folder, tmp_path, codec="flac")
    rewrite(tmp_path, "samples.parquet", put(column, 0, value))
    manifest = Manifest.open(tmp_path)
    with pytest.raises(
        UserError, match=rf"samples\.parquet cannot be read \(a clip lies outside its shard\): {REMEDY}"
    ):
        manifest.member_offset.tolist()


def test_32_bit_columns_do_not_overflow(copy: Path):
    for name in ("frames", "sample_rate", "data_offset"):
        rewrite(copy, "samples.parquet", cast(name, pa.int32()))
    manifest = Manifest.open(copy)
    assert (manifest.resampled(44100).frames == 2 * manifest.native_frames).all()
    assert (manifest.native_frames * 2**32 > 2**32).all()
