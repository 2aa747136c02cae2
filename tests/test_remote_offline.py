"""Remote sets without a network: what is cached can be used, and the rest is an error that says so."""

import logging
import socket
import urllib.error
import urllib.request
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream.download import attempts
from gtzan_stream.errors import BadSample, UserError, WriteError
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from tests.bad_server import Server, cut, other, stall, status


@pytest.fixture
def cached(server: Server, caplog: pytest.LogCaptureFixture) -> Manifest:
    """The set, with its tables and its first shard in the cache."""
    manifest = Manifest.open(server.address)
    assert manifest.part("three", "train").size
    manifest.path(manifest.shards[0].name)
    server.requests.clear()
    caplog.clear()
    return manifest


def read(manifest: Manifest, clip: int) -> np.ndarray:
    ClipReader(manifest).read(clip, 0, out := np.empty(100, np.int16))
    return out


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


def test_offline_only_the_cache_is_used(
    server: Server, cached: Manifest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("GTZAN_STREAM_OFFLINE", "1")
    manifest = Manifest.open(server.address)
    assert manifest.digest == cached.digest
    np.testing.assert_array_equal(read(manifest, 0), read(cached, 0))
    name = manifest.shards[-1].name
    with pytest.raises(BadSample, match=rf"{name} is not in the cache .*, and GTZAN_STREAM_OFFLINE is set$"):
        read(manifest, len(manifest) - 1)
    assert server.requests == []
    assert len(messages(caplog)) == 1
    assert "only what is in the cache" in messages(caplog)[0]


def test_offline_a_set_that_is_not_cached_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GTZAN_STREAM_OFFLINE", "1")
    with pytest.raises(UserError, match=r"is not in the cache .*: unset GTZAN_STREAM_OFFLINE to open it"):
        Manifest.open(server.address)
    assert server.requests == []
    monkeypatch.setenv("GTZAN_STREAM_OFFLINE", "0")
    Manifest.open(server.address)


def test_offline_a_table_that_is_not_cached_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch):
    Manifest.open(server.address)
    monkeypatch.setenv("GTZAN_STREAM_OFFLINE", "1")
    with pytest.raises(UserError, match=r"splits\.parquet is not in the cache .*, and GTZAN_STREAM_OFFLINE is set$"):
        Manifest.open(server.address).part("three", "train")


def refused() -> Exception:
    return ConnectionRefusedError(111, "Connection refused")


def unnamed() -> Exception:
    return socket.gaierror(-2, "Name or service not known")


def cut_off() -> Exception:
    return OSError(101, "Network is unreachable")


@pytest.mark.parametrize("error", [refused, unnamed, cut_off])
def test_a_cached_set_is_opened_at_once_if_no_server_can_be_reached(
    error, server: Server, cached: Manifest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    calls = []

    def urlopen(request: urllib.request.Request, timeout: float) -> None:
        calls.append(request.full_url)
        raise urllib.error.URLError(error())

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    manifest = Manifest.open(server.address)
    np.testing.assert_array_equal(read(manifest, 0), read(cached, 0))
    assert manifest.part("three", "train").size
    assert len(calls) == 1
    (warning,) = messages(caplog)
    assert f"could not be downloaded: {error().strerror}: the cached set in " in warning
    with pytest.raises(BadSample, match=rf"{error().strerror}; it is not in the cache .*"):
        read(manifest, len(manifest) - 1)
    assert len(calls) == 2  # there is one attempt, without pauses


def test_a_closed_port_is_not_tried_again(server: Server, cached: Manifest, caplog: pytest.LogCaptureFixture):
    server.__exit__()
    assert Manifest.open(server.address).digest == cached.digest
    assert "Connection refused" in messages(caplog)[0]
    with pytest.raises(UserError, match=r"downloaded in 4 attempts: Connection refused$"):
        Manifest.open(f"{server.address}/other")  # nothing is cached, so it may help to wait


def test_a_silent_server_is_given_up_after_one_deadline(
    server: Server, cached: Manifest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("GTZAN_STREAM_TIMEOUT_S", "0.1")
    server.fail("manifest.json", stall())
    assert Manifest.open(server.address).digest == cached.digest
    assert len(server.ranges("manifest.json")) == 1
    assert "sent no data for 0.1 s" in messages(caplog)[0]


def test_a_server_that_drops_every_connection_is_tried_again_before_the_cache_is_used(server: Server, cached: Manifest):
    server.fail("manifest.json", then=repeat(cut(0)))
    assert Manifest.open(server.address).digest == cached.digest
    assert len(server.ranges("manifest.json")) == attempts.ATTEMPTS


@pytest.mark.parametrize("code", [404, 403, 500, 503])
def test_a_server_that_answers_is_not_offline(code: int, server: Server, cached: Manifest):
    assert len(cached.shards)
    server.fail("manifest.json", then=repeat(status(code)))
    with pytest.raises(UserError, match=f"does not exist: pack or index the set|HTTP Error {code}"):
        Manifest.open(server.address)


def test_a_page_of_a_network_login_does_not_replace_the_cached_manifest(
    server: Server, cached: Manifest, monkeypatch: pytest.MonkeyPatch
):
    server.fail("manifest.json", other(b"<html>log in</html>"))
    with pytest.raises(UserError, match=r"manifest\.json is not a manifest of gtzan-stream"):
        Manifest.open(server.address)
    monkeypatch.setenv("GTZAN_STREAM_OFFLINE", "1")
    assert Manifest.open(server.address).digest == cached.digest


def test_shards_are_downloaded_when_the_network_is_back(server: Server, cached: Manifest, monkeypatch):
    assert len(cached.shards)
    urlopen, names = urllib.request.urlopen, []

    def once(request: urllib.request.Request, timeout: float):
        names.append(request.full_url)
        if len(names) == 1:
            raise urllib.error.URLError(refused())
        return urlopen(request, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", once)
    manifest = Manifest.open(server.address)
    assert manifest.path(manifest.shards[1].name).exists()


def test_a_read_only_cache_can_be_used(server: Server, cached: Manifest, monkeypatch: pytest.MonkeyPatch):
    def utime(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.utime", utime)
    monkeypatch.setenv("GTZAN_STREAM_OFFLINE", "1")
    (cached.folder.cache / "0123-old.tar.10.part").write_bytes(b"")

    def lock_file(path: Path, **options: bool) -> None:
        raise WriteError(f"{path} cannot be written")

    monkeypatch.setattr("gtzan_stream.store.cache.lock_file", lock_file)
    assert len(read(Manifest.open(server.address), 0)) == 100
