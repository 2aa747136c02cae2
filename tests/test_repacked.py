"""A set that is packed again while it is open: an error, or the files of the old set are read."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.loader import Loader
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.read import ClipReader
from gtzan_stream.store.swap import INCOMING
from tests.conftest import write_wav


@pytest.fixture(scope="module")
def other(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with other audio under the same keys, in shards of the same names and sizes."""
    folder = tmp_path_factory.mktemp("other")
    manifest = Manifest.open(shards)
    for key, label, frames in zip(manifest.keys.to_pylist(), manifest.label, manifest.frames, strict=True):
        noise = 0.1 * np.random.default_rng(0).standard_normal(int(frames))
        write_wav(folder / f"src/{manifest.labels[label]}/{key}.wav", noise)
    pack(folder / "src", folder / "set", shard_mb=1, name="gtzan")
    return folder / "set"


def put(other: Path, root: Path, *, moved: bool = True) -> None:
    """Replace the set in `root` as `pack` does; if not `moved`, like a pack interrupted before it moved files."""
    shutil.copytree(other, root / INCOMING)
    if moved:
        for path in sorted((root / INCOMING).iterdir(), key=lambda path: path.name == "manifest.json"):
            os.replace(path, root / path.name)


MESSAGE = r"^the set in .*shards was packed again while it was in use: create a new loader$"


@pytest.mark.parametrize("moved", [True, False])
def test_shards_of_a_new_set_are_not_read_as_those_of_the_old_one(moved: bool, copy: Path, other: Path):
    reader = ClipReader(Manifest.open(copy))
    whole, out = np.empty(100, np.int16), np.empty(100, np.int16)
    reader.read(0, 0, whole)
    last = len(reader.manifest.keys) - 1  # this reads the keys, which the message of a BadSample needs
    assert reader.manifest.shard[last] != reader.manifest.shard[0]
    put(other, copy, moved=moved)
    reader.read(0, 0, out)  # its shard is still open, so the old one is read
    assert (out == whole).all()
    with pytest.raises(UserError, match=MESSAGE):
        reader.read(last, 0, out)


@pytest.mark.parametrize("moved", [True, False])
def test_splits_and_columns_of_a_new_set_are_not_read_as_those_of_the_old_one(moved: bool, copy: Path, other: Path):
    manifest = Manifest.open(copy)
    put(other, copy, moved=moved)
    for read in (lambda: manifest.part("stratified", "test"), lambda: manifest.keys, lambda: manifest.sha256):
        with pytest.raises(UserError, match=MESSAGE):
            read()


@pytest.mark.parametrize("on_error", ["skip", "fail"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_raises_instead_of_skipping_if_the_set_was_packed_again(
    on_error: str, num_workers: int, copy: Path, other: Path
):
    with Loader(
        copy, part="train", split="stratified", augment="none", on_error=on_error, num_workers=num_workers
    ) as loader:
        assert len(loader.manifest.keys)
        put(other, copy)
        with pytest.raises(UserError, match=MESSAGE):
            list(loader)
        with pytest.raises(UserError, match=MESSAGE):
            loader.evaluation("test")


@pytest.mark.parametrize("differs", ["time", "file", "size"])
def test_another_manifest_is_noticed_by_its_time_its_file_or_its_size(differs: str, copy: Path):
    """The content was compared once already; it is compared again if one of the three has changed."""
    manifest, path = Manifest.open(copy), copy / "manifest.json"
    assert len(manifest.keys)
    data, status = path.read_bytes(), path.stat()
    other = data.replace(b'"sha256": "', b'"sha256": "f', 1) if differs == "size" else data.replace(b"0", b"1", 1)
    if differs == "file":
        path.rename(copy / "kept")  # this keeps the inode in use, so that the new file gets another
    path.write_bytes(other)
    if differs != "time":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    with pytest.raises(UserError, match=MESSAGE):
        manifest.part("stratified", "test")


def test_a_shard_that_a_pack_removed_is_an_error(copy: Path, clips_folder: Path):
    reader = ClipReader(Manifest.open(copy))
    pack(clips_folder, copy, name="renamed")
    with pytest.raises(UserError, match=MESSAGE):
        reader.read(0, 0, np.empty(100, np.int16))


def test_reading_continues_if_the_same_set_is_packed_again(copy: Path, shards: Path):
    manifest = Manifest.open(copy)
    put(shards, copy)
    assert len(manifest.part("stratified", "test"))
    ClipReader(manifest).read(0, 0, np.empty(100, np.int16))


def test_reading_continues_if_the_manifest_is_removed(copy: Path):
    reader = ClipReader(Manifest.open(copy))
    (copy / "manifest.json").unlink()
    reader.read(0, 0, np.empty(100, np.int16))
    (copy / reader.manifest.shards[-1].name).unlink()
    with pytest.raises(BadSample, match="No such file"):
        reader.read(len(reader.manifest) - 1, 0, np.empty(100, np.int16))
