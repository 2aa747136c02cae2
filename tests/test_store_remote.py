"""Remote shards, read from an HTTP server that can be made to fail."""

import errno
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream.download import attempts
from gtzan_stream.download.attempts import download
from gtzan_stream.errors import UserError
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from gtzan_stream.store.remote import RemoteFolder
from gtzan_stream.store.tables import describe_file
from gtzan_stream.store.verify import verify
from tests.bad_server import Handler, Server, send, status


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
    assert not any(server.ranges(name) for name in names)
    read_all(manifest)
    read_all(Manifest.open(server.address))
    assert [server.ranges(name) for name in names] == [[""]] * len(names)
    assert server.ranges("manifest.json") == ["", ""]


@pytest.mark.parametrize("size", [0, 1000, None])
@pytest.mark.parametrize("kind", ["shard", "table"])
def test_a_file_of_another_size_in_the_cache_is_fetched_again(size: int | None, kind: str, server: Server):
    manifest = Manifest.open(server.address)
    name = manifest.shards[0].name if kind == "shard" else "splits.parquet"
    path = manifest.path(name)
    whole = path.read_bytes()
    path.write_bytes(whole + b"more" if size is None else whole[:size])
    n_requests = len(server.ranges(name))
    assert Manifest.open(server.address).path(name) == path
    assert path.read_bytes() == whole
    assert len(server.ranges(name)) == n_requests + 1
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
    assert server.ranges(name) == [""]


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

    def write(*arguments: object) -> None:
        calls.append(arguments)
        raise OSError(number, os.strerror(number))

    original = attempts._write_all
    monkeypatch.setattr(attempts, "_write_all", write)
    with pytest.raises(UserError, match=rf"\.tar\.\d+\.part cannot be written: {message}"):
        manifest.path(manifest.shards[0].name)
    assert len(calls) == 1
    assert not list((tmp_path / "cache").rglob("*.part"))
    monkeypatch.setattr(attempts, "_write_all", original)
    assert manifest.path(manifest.shards[0].name).exists()  # the shard was not given up


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
    with pytest.raises(UserError, match=rf"{len(names)} shards of .* GB, .* holds .* GB: set GTZAN_STREAM_CACHE_GB; "):
        folder.check_cache_holds(len(names))
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


@pytest.mark.parametrize("sha256", ["../../../victim/", "/" * 64, "0" * 63, "G" * 64, "0" * 64 + "\n"])
def test_a_manifest_cannot_name_files_outside_the_cache(sha256: str, server: Server, tmp_path: Path):
    """The first digits of a checksum are part of a file's name in the cache, beside which others are evicted."""
    (tmp_path / "victim").mkdir()
    metadata = json.loads((server.folder / "manifest.json").read_text())
    metadata["shards"][0]["sha256"] = sha256
    data = json.dumps(metadata).encode()
    server.fail("manifest.json", lambda handler, _, start: send(handler, data, start))
    with pytest.raises(UserError, match=r"is not a manifest .*its field shards does not have the expected form"):
        Manifest.open(server.address)
    assert not list((tmp_path / "victim").iterdir())


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "-1", "0", ""])
def test_an_invalid_cache_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GTZAN_STREAM_CACHE_GB", text)
    with pytest.raises(UserError, match="GTZAN_STREAM_CACHE_GB is the size of the cache in gigabytes"):
        RemoteFolder("memory://shards")
    monkeypatch.setenv("GTZAN_STREAM_CACHE_GB", "0.5")
    assert RemoteFolder("memory://shards").limit_bytes == 500_000_000


def test_a_shard_that_was_evicted_before_it_was_opened_is_downloaded_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    manifest = Manifest.open(server.address)
    path, name, evicted = RemoteFolder.path, manifest.shards[0].name, []

    def evict(folder: RemoteFolder, name: str) -> Path:
        found = path(folder, name)
        if not evicted:
            evicted.append(found)
            found.unlink()  # as another process may
        return found

    monkeypatch.setattr(RemoteFolder, "path", evict)
    ClipReader(manifest).read(0, 0, np.empty(10, np.int16))
    assert server.ranges(name) == ["", ""]


def test_names_with_characters_of_an_address_are_quoted(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GTZAN_STREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    data = (copy / "splits.parquet").read_bytes()
    with Server(copy) as server:
        server.fail("a%20%C3%A9/x%23%3F%25.tar", lambda handler, _, start: send(handler, data, start))
        folder = RemoteFolder(f"{server.address}/a é")
        folder.register_files([describe_file(copy / "splits.parquet") | {"name": "x#?%.tar"}])
        assert folder.path("x#?%.tar").read_bytes() == data
    assert [name for name, _ in server.requests] == ["a%20%C3%A9/x%23%3F%25.tar"]


def test_names_in_a_file_address_are_quoted(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GTZAN_STREAM_CACHE", str(tmp_path / "cache"))
    name = "x#%41 y.tar"
    (copy / "splits.parquet").rename(copy / name)
    folder = RemoteFolder(f"file://{copy}")
    folder.register_files([describe_file(copy / name)])
    assert folder.path(name).read_bytes() == (copy / name).read_bytes()


def test_legal_characters_of_an_address_stay_as_they_are(server: Server, tmp_path: Path):
    name = "x;y=1,(2)?a=b&c=~+@:!$'*[0]"
    server.fail(name, lambda handler, _, start: send(handler, b"12345", start))
    download(f"{server.address}/{name}", tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == b"12345"


def test_a_password_in_an_address_is_sent_to_its_server_only(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sent: list[str | None] = []

    def record(handler: Handler, data: bytes, start: int) -> None:
        sent.append(handler.headers.get("Authorization"))
        to = f"http://127.0.0.1:{server.server_port}/elsewhere"
        status(302, Location=to)(handler, data, start) if len(sent) == 1 else send(handler, b"12345", start)

    server.fail("x", record)
    server.fail("elsewhere", record)
    download(server.address.replace("//", "//me:a%40b@") + "/x", tmp_path / "part")
    assert sent == ["Basic bWU6YUBi", None]


def test_a_password_in_an_address_is_not_shown(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    address = server.address.replace("//", "//me:secret@")
    for name in ("missing", "broken"):
        server.fail(name, status(404 if name == "missing" else 500))
        with caplog.at_level("INFO"), pytest.raises(OSError, match=r"//me:\*\*\*@") as caught:
            download(f"{address}/{name}", tmp_path / "part")
        assert "secret" not in str(caught.value)
    with caplog.at_level("INFO"):
        manifest = Manifest.open(address)
    assert str(manifest.root) == address.replace("secret", "***")
    assert "secret" not in caplog.text
    assert "trying again" in caplog.text
