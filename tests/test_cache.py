"""The cache of remote shards: which shards it keeps and evicts, and how downloads are repeated."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gtzan_stream.errors import UserError
from gtzan_stream.store.remote import RemoteFolder
from gtzan_stream.store.tables import describe_file


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GTZAN_STREAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()


def upload(memory: Any, folder: Path, contents: dict[str, bytes]) -> list[dict[str, Any]]:
    """Put files at memory://set, and describe them as a manifest does."""
    described = []
    folder.mkdir(exist_ok=True)
    for name, data in contents.items():
        memory.pipe(f"/set/{name}", data)
        (folder / name).write_bytes(data)
        described.append(describe_file(folder / name))
    return described


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=5, max_size=5),
    limit=st.integers(20, 60),
    requests=st.lists(st.integers(0, 4), max_size=12),
)
@example(sizes=[10, 10, 10, 10, 10], limit=20, requests=[0, 1, 2])
def test_the_cache_holds_the_shards_that_were_used_last(sizes: list[int], limit: int, requests: list[int]):
    """It holds as many as the limit allows, to the byte. Tables do not count, and stay."""
    memory = fsspec.filesystem("memory")
    with TemporaryDirectory() as folder:
        names = [f"{number}.tar" for number in range(5)]
        files = upload(
            memory,
            Path(folder) / "files",
            {"samples.parquet": b"table" * 20} | {name: bytes(size) for name, size in zip(names, sizes, strict=True)},
        )
        cached = RemoteFolder("memory://set", Path(folder) / "cache", limit)
        cached.register_files(files)
        table = cached.path("samples.parquet")
        os.utime(table, (0, 0))
        expected: list[int] = []  # least recently used first
        for moment, number in enumerate(requests, 1):
            if number in expected:
                expected.remove(number)
            while sum(sizes[other] for other in [*expected, number]) > limit:
                expected.pop(0)
            expected.append(number)
            os.utime(cached.path(names[number]), (moment, moment))
            found = {path.name.partition("-")[2] for path in cached.cache.glob("*.tar")}
            assert found == {names[other] for other in expected}
        assert table.exists()


def test_the_largest_shards_must_fit_together():
    folder = RemoteFolder("memory://set", limit_bytes=14)
    sizes = {"a.tar": 3, "b.tar": 9, "c.tar": 5, "samples.parquet": 100}
    folder.register_files([{"name": name, "size": size, "sha256": ""} for name, size in sizes.items()])
    for n_shards in (0, 1, 2):
        folder.check_cache_holds(n_shards)
    for n_shards in (3, 4):
        with pytest.raises(UserError, match=r"^3 shards of memory://set, 1\.7e-08 GB, are needed at once"):
            folder.check_cache_holds(n_shards)
    folder.limit_bytes = 13
    with pytest.raises(UserError, match=r"^2 shards of memory://set, 1\.4e-08 GB, .* holds 1\.3e-08 GB: set GTZAN"):
        folder.check_cache_holds(2)


def test_a_set_that_was_packed_again_does_not_get_the_files_of_the_old_one(memory: Any, tmp_path: Path):
    """The files have the same names and sizes. The old ones can still be read."""
    folders = []
    for data in (b"old", b"new"):
        files = upload(memory, tmp_path / "files", {"x.tar": data, "samples.parquet": data})
        folders.append(RemoteFolder("memory://set"))
        folders[-1].register_files(files)
        for name in ("x.tar", "samples.parquet"):
            assert folders[-1].path(name).read_bytes() == data
    assert folders[0].path("x.tar").read_bytes() == b"old"


def test_each_address_has_its_own_folder(memory: Any, tmp_path: Path):
    one, slash, two = (RemoteFolder(f"memory://{name}").cache for name in ("set", "set/", "other"))
    assert one == slash
    assert one != two
    assert one.parent == two.parent == tmp_path / "cache"


def test_the_cache_is_in_the_users_cache_by_default(memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GTZAN_STREAM_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for xdg, parent in ((str(tmp_path / "xdg"), tmp_path / "xdg"), ("", tmp_path / "home/.cache")):
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
        assert RemoteFolder("memory://set").cache.parent == parent / "gtzan-stream"
