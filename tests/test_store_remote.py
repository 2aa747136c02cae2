"""Remote shards, read from an HTTP server that can be made to fail."""

import errno
import os
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.store import remote
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from gtzan_stream.store.remote import RemoteFolder
from gtzan_stream.store.verify import verify


class Server(ThreadingHTTPServer):
    """Serves a folder, and counts the requests for each file.

    The first `failures[name]` requests for a file get an error; files in `garbage` get wrong content.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.requests: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.garbage: set[str] = set()
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.requests[name] += 1
        if self.server.failures[name] > 0:
            self.server.failures[name] -= 1
            self.send_error(503)
        elif name in self.server.garbage:
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"wrong")
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("GTZAN_STREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "FIRST_WAIT_S", 0.01)
    with Server(shards) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def read_all(manifest: Manifest) -> list[np.ndarray]:
    reader = ClipReader(manifest)
    clips = [np.empty(frames, reader.dtype) for frames in manifest.frames]
    for clip, out in enumerate(clips):
        reader.read(clip, 0, out)
    reader.close()
    return clips


def test_remote_clips_are_the_same(server: Server, shards: Path):
    here, there = Manifest.open(shards), Manifest.open(server.address)
    assert there.digest == here.digest
    for a, b in zip(read_all(here), read_all(there), strict=True):
        np.testing.assert_array_equal(a, b)
    assert verify(there) == []


def test_a_shard_is_fetched_when_needed_and_once(server: Server):
    manifest = Manifest.open(server.address)
    names = [shard.name for shard in manifest.shards]
    assert not set(names) & set(server.requests)
    read_all(manifest)
    read_all(Manifest.open(server.address))
    assert [server.requests[name] for name in names] == [1] * len(names)
    assert server.requests["manifest.json"] == 2


@pytest.mark.parametrize("size", [0, 1000, None])
@pytest.mark.parametrize("kind", ["shard", "table"])
def test_a_file_of_another_size_in_the_cache_is_fetched_again(size: int | None, kind: str, server: Server):
    manifest = Manifest.open(server.address)
    name = manifest.shards[0].name if kind == "shard" else "splits.parquet"
    path = manifest.path(name)
    whole = path.read_bytes()
    path.write_bytes(whole + b"more" if size is None else whole[:size])
    n_requests = server.requests[name]
    assert Manifest.open(server.address).path(name) == path
    assert path.read_bytes() == whole
    assert server.requests[name] == n_requests + 1
    assert verify(manifest) == []


def test_threads_fetch_a_shard_once(server: Server):
    manifest = Manifest.open(server.address)
    name = manifest.shards[0].name
    manifest.folder.prefetch([name])
    threads = [threading.Thread(target=manifest.path, args=(name,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.requests[name] == 1


def test_a_failed_download_is_tried_again(server: Server):
    manifest = Manifest.open(server.address)
    name = manifest.shards[0].name
    server.failures[name] = remote.MAX_ATTEMPTS - 1
    assert manifest.path(name).stat().st_size == manifest.shards[0].size
    assert server.requests[name] == remote.MAX_ATTEMPTS


def test_a_download_that_always_fails_names_shard_and_key(server: Server):
    manifest = Manifest.open(server.address)
    name, key = manifest.shards[0].name, manifest.keys[0]
    server.failures[name] = 99
    with pytest.raises(BadSample, match=rf"{server.address}/{name}, key {key}: .* could not be downloaded in 4"):
        ClipReader(manifest).read(0, 0, np.empty(10, np.int16))


def test_a_download_with_a_wrong_checksum_is_not_used(server: Server, tmp_path: Path):
    manifest = Manifest.open(server.address)
    name = manifest.shards[0].name
    server.garbage.add(name)
    with pytest.raises(OSError, match=r"its sha256 is .*, the manifest says"):
        manifest.path(name)
    assert any(name in problem for problem in verify(manifest))
    assert not list((tmp_path / "cache").rglob(f"*{name}"))
    assert not list((tmp_path / "cache").rglob(".part-*"))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "No space left on device; it needs about .* MB are free"),
        (errno.EROFS, "Read-only file system; ch"),
    ],
)
def test_an_unwritable_disk_is_an_error_without_retries(
    number: int, message: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    manifest, calls = Manifest.open(server.address), []

    class Full:
        def get_file(self, *paths: str) -> None:
            calls.append(paths)
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(remote, "_file_system", lambda address: (Full(), address))
    with pytest.raises(UserError, match=rf"\.tar cannot be written: {message}"):
        manifest.path(manifest.shards[0].name)
    assert len(calls) == 1
    assert not list((tmp_path / "cache").rglob(".part-*"))


def test_the_least_recently_used_shard_is_evicted(server: Server, tmp_path: Path):
    sizes = [shard.size for shard in Manifest.open(server.address).shards]
    names = [shard.name for shard in Manifest.open(server.address).shards]
    assert len(names) >= 3
    folder = RemoteFolder(server.address, tmp_path / "small", limit_bytes=max(sizes) * 2)
    folder.register_files([vars(shard) for shard in Manifest.open(server.address).shards])
    first, second = folder.path(names[0]), folder.path(names[1])
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    folder.path(names[0])  # used again, so the second is now the least recently used
    third = folder.path(names[2])
    assert first.exists()
    assert third.exists()
    assert not second.exists()
    with pytest.raises(
        UserError, match=rf"{len(names)} shards of .* GB, .* holds .* GB: choose a smaller shuffle_shards"
    ):
        folder.check_cache_holds(None)
    folder.check_cache_holds(2)


def test_an_address_without_a_set_is_named(server: Server):
    with pytest.raises(UserError, match=rf"{server.address}/nowhere/manifest\.json does not exist"):
        Manifest.open(f"{server.address}/nowhere")


def test_an_unknown_protocol_is_an_error():
    with pytest.raises(UserError, match=r"nonsense://x/manifest\.json cannot be read: .*nonsense"):
        Manifest.open("nonsense://x")


def test_a_manifest_cannot_name_files_outside_its_folder(shards: Path, tmp_path: Path):
    text = (shards / "manifest.json").read_text().replace("samples.parquet", "../samples.parquet")
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"lists a file outside its folder, '\.\./samples\.parquet'"):
        Manifest.open(tmp_path)


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "-1", "0", ""])
def test_an_invalid_cache_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GTZAN_STREAM_CACHE_GB", text)
    with pytest.raises(UserError, match="GTZAN_STREAM_CACHE_GB is the size of the cache in gigabytes"):
        RemoteFolder("memory://shards")
    monkeypatch.setenv("GTZAN_STREAM_CACHE_GB", "0.5")
    assert RemoteFolder("memory://shards").limit_bytes == 500_000_000
