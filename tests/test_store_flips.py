"""Wrong bytes in manifest.json, tables and shards give a UserError or a BadSample, wherever they are."""

import json
import random
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.store.index import index
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from gtzan_stream.store.summary import summary
from gtzan_stream.store.verify import verify
from tests.conftest import MANY
from tests.test_store_index import sound, write


@pytest.fixture(scope="module")
def copy(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flips") / "copy"
    shutil.copytree(shards, folder)
    return folder


def use(root: Path) -> None:
    """Open a set, summarise it and read from it. Only UserError and BadSample may be raised."""
    with suppress(UserError, BadSample):
        manifest = Manifest.open(root)
        summary(manifest)
        for split, parts in manifest.parts_by_split().items():
            for part in parts:
                manifest.part(split, part)
        reader = ClipReader(manifest)
        for clip in range(min(3, len(manifest))):
            reader.read(clip, -5, np.empty(100, reader.dtype))
        reader.close()


@pytest.mark.parametrize("name", ["manifest.json", "samples.parquet", "splits.parquet"])
def test_flipped_bytes_of_a_manifest_or_table_are_one_user_error(name: str, copy: Path):
    whole = (copy / name).read_bytes()
    rng = random.Random(0)
    for _ in range(50 * MANY):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 1, 8))):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        (copy / name).write_bytes(damaged)
        use(copy)
    (copy / name).write_bytes(whole)
    assert verify(Manifest.open(copy)) == []


METADATA = ["format", "format_version", "dataset", "sample_rate", "labels", "clips", "shards", "splits", "tables"]


@pytest.mark.parametrize("name", [*METADATA, "report"])
@pytest.mark.parametrize("value", ["missing", None, 7, -1, "x", [], ["x"], {}, [{}], {"a": None}, [None], 2**70])
def test_malformed_metadata_is_one_user_error(name: str, value: Any, copy: Path):
    whole = (copy / "manifest.json").read_bytes()
    metadata = json.loads(whole)
    if value == "missing":
        del metadata[name]
    else:
        metadata[name] = value
    (copy / "manifest.json").write_text(json.dumps(metadata))
    try:
        use(copy)
    finally:
        (copy / "manifest.json").write_bytes(whole)


def test_the_error_names_the_missing_or_malformed_field(copy: Path):
    whole = (copy / "manifest.json").read_bytes()
    metadata = json.loads(whole)
    for change, message in (
        ({"report": None}, "its field report does not have the expected form"),
        ({"splits": [1]}, "its field splits does not have"),
    ):
        (copy / "manifest.json").write_text(json.dumps(metadata | change))
        with pytest.raises(UserError, match=rf"manifest\.json is not a manifest of gtzan-stream .*{message}"):
            Manifest.open(copy)
    del metadata["labels"]
    (copy / "manifest.json").write_text(json.dumps(metadata))
    with pytest.raises(UserError, match=r"it lacks labels"):
        Manifest.open(copy)
    (copy / "manifest.json").write_bytes(whole)


def test_flipped_bytes_of_a_shard_are_reported_or_change_a_clip(tmp_path: Path):
    """Wherever the wrong bytes are, the other clips are indexed, and the indexed set verifies."""
    samples = [{"__key__": f"rock_{i}", "wav": sound(i, frames=800), "json": b'{"label": "rock"}'} for i in range(6)]
    write(tmp_path / "x.tar", samples, 0)
    whole = (tmp_path / "x.tar").read_bytes()
    rng = random.Random(0)
    for case in range(32 * MANY):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 1, 20))):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        if case % 8 == 0:
            del damaged[rng.randrange(2000, len(damaged)) :]
        (tmp_path / "x.tar").write_bytes(damaged)
        try:
            manifest = index(tmp_path)
        except UserError:
            continue
        assert verify(manifest) == []


def test_another_format_version_is_named(copy: Path):
    whole = (copy / "manifest.json").read_bytes()
    metadata = json.loads(whole) | {"format_version": 99}
    (copy / "manifest.json").write_text(json.dumps(metadata))
    with pytest.raises(UserError) as caught:
        Manifest.open(copy)
    assert str(caught.value).startswith(
        f"{copy}/manifest.json is in version 99 of the format gtzan-stream, this program reads version 1 of "
    )
    (copy / "manifest.json").write_bytes(whole)
