"""A reader keeps the shards open that it read last, and closes those that the cache has evicted."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_stream.errors import BadSample
from gtzan_stream.store import open_shards
from gtzan_stream.store.folder import Folder
from gtzan_stream.store.manifest import Manifest, Shard
from gtzan_stream.store.read import ClipReader

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed in /proc")


class Shards(Manifest):
    """A manifest of shards in a folder; requesting the path of an evicted shard brings the file back."""

    def __init__(self, root: Path) -> None:
        self.root, self.opened = root, list[int]()
        self.shards = [Shard(str(number), 0, "") for number in range(6)]
        self.folder = Folder(root)

    def path(self, name: str) -> Path:
        self.opened.append(int(name))
        (self.root / name).touch()
        return self.root / name


def open_files(root: Path) -> list[str]:
    """Names of the shards below a folder that this process has open; Arrow may close tables a moment later."""
    links = [Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    names = [os.readlink(link) for link in links if link.is_symlink()]
    return sorted(
        name.removeprefix(f"{root}/") for name in names if name.startswith(f"{root}/") and "parquet" not in name
    )


@settings(max_examples=50)
@given(
    limit=st.integers(1, 4),
    steps=st.lists(st.tuples(st.sampled_from(["read", "read", "evict"]), st.integers(0, 5)), max_size=30),
)
def test_the_shards_read_last_are_open_and_evicted_ones_are_closed(limit: int, steps: list[tuple[str, int]]):
    with TemporaryDirectory() as folder:
        manifest = Shards(Path(folder).resolve())
        shards = open_shards.OpenShards(manifest, limit)
        expected, opened, evicted = list[int](), list[int](), set[int]()  # least recently used first
        for step, number in steps:
            if step == "evict":
                (manifest.root / str(number)).unlink(missing_ok=True)
                evicted |= {number} & set(expected)
                continue
            shards.get(number)
            if number in expected:
                expected.remove(number)
            else:
                opened.append(number)
                expected = [other for other in expected if other not in evicted]
                evicted.clear()
            expected = [*expected, number][-limit:]
            names = [f"{other} (deleted)" if other in evicted else str(other) for other in expected]
            assert open_files(manifest.root) == sorted(names)
        assert manifest.opened == opened
        shards.close()
        assert open_files(manifest.root) == []


def test_while_a_shard_is_downloaded_the_others_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    manifest = Shards(tmp_path)
    shards, is_downloading, is_done = open_shards.OpenShards(manifest, limit=2), Event(), Event()
    expected = shards.get(0)

    def download(name: str) -> Path:
        is_downloading.set()
        assert is_done.wait(30)
        return Shards.path(manifest, name)

    monkeypatch.setattr(manifest, "path", download)
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(shards.get, 1)
        assert is_downloading.wait(30)
        try:
            assert threads.submit(shards.get, 0).result(30) is expected
        finally:
            is_done.set()
        assert slow.result() is shards.get(1)


def test_a_shard_that_arrives_after_close_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    manifest = Shards(tmp_path.resolve())
    shards = open_shards.OpenShards(manifest, limit=2)

    def close_meanwhile(name: str) -> Path:
        shards.close()
        return Shards.path(manifest, name)

    monkeypatch.setattr(manifest, "path", close_meanwhile)
    with pytest.raises(ValueError, match="the reader is closed"):
        shards.get(1)
    assert open_files(manifest.root) == []


def test_a_closed_reader_has_no_shards_open_and_opens_none(shards: Path, tmp_path: Path):
    shutil.copytree(shards, tmp_path / "shards")
    manifest = Manifest.open(tmp_path / "shards")
    reader = ClipReader(manifest)
    for clip in range(len(manifest)):
        reader.read(clip, 0, np.empty(100, np.int16))
    assert open_files(tmp_path / "shards") == [shard.name for shard in manifest.shards]
    reader.close()
    assert open_files(tmp_path / "shards") == []
    with pytest.raises(BadSample, match="the reader is closed"):
        reader.read(0, 0, np.empty(100, np.int16))
