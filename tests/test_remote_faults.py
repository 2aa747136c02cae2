"""Remote shards from servers and networks with faults: deadlines, resumed downloads, shards that are given up."""

import logging
import random
import re
import time
from email.utils import formatdate
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream.download import attempts
from gtzan_stream.download.attempts import DownloadError
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.loader import Loader
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from tests import bad_server
from tests.bad_server import Server, corrupt, cut, drip, other, stall, status, unbounded, whole


@pytest.fixture
def manifest(server: Server) -> Manifest:
    return Manifest.open(server.address)


@pytest.fixture
def name(manifest: Manifest) -> str:
    """Name of a shard."""
    return manifest.shards[0].name


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which take no time."""
    pauses: list[float] = []
    monkeypatch.setattr(attempts, "wait", pauses.append)
    return pauses


def parts(cache: Path) -> list[Path]:
    return list(cache.rglob("*.part"))


@pytest.mark.parametrize("first", [stall(), stall(0), stall(1000)], ids=["no headers", "headers", "some bytes"])
def test_a_server_that_stalls_is_given_up_after_the_deadline(
    first: bad_server.Fault, server: Server, manifest: Manifest, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GTZAN_STREAM_TIMEOUT_S", "0.05")
    server.fail(name, first, then=repeat(stall(0)))
    with pytest.raises(DownloadError, match=r"downloaded in 4 attempts: the server sent no data for 0\.05 s$"):
        manifest.path(name)
    assert len(server.ranges(name)) == 4


def test_the_bytes_before_a_stall_are_kept(
    server: Server, manifest: Manifest, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GTZAN_STREAM_TIMEOUT_S", "0.5")
    server.fail(name, stall(1000))
    manifest.path(name)
    assert server.ranges(name) == ["", "bytes=1000-"]


def test_a_slow_server_is_not_given_up(server: Server, manifest: Manifest, name: str, monkeypatch: pytest.MonkeyPatch):
    """The download takes longer than the deadline, but no pause does."""
    monkeypatch.setenv("GTZAN_STREAM_TIMEOUT_S", "1")
    server.fail(name, drip(12, 0.1))
    manifest.path(name)
    assert server.ranges(name) == [""]


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "-1", "0", ""])
def test_an_invalid_deadline_is_refused(text: str, server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GTZAN_STREAM_TIMEOUT_S", text)
    with pytest.raises(UserError, match="GTZAN_STREAM_TIMEOUT_S is the number of seconds"):
        Manifest.open(server.address)


def test_a_broken_download_goes_on_where_it_broke(server: Server, manifest: Manifest, name: str):
    """As long as each attempt brings bytes, there may be any number of them."""
    server.fail(name, *[cut(1000)] * 6)
    data = manifest.path(name).read_bytes()
    assert data == (server.folder / name).read_bytes()
    assert server.ranges(name) == ["", *(f"bytes={1000 * n}-" for n in range(1, 7))]


def test_a_server_without_ranges_sends_the_whole_file_again(server: Server, manifest: Manifest, name: str):
    server.fail(name, cut(1000), whole)
    assert manifest.path(name).read_bytes() == (server.folder / name).read_bytes()
    assert server.ranges(name) == ["", "bytes=1000-"]


def test_a_file_that_changed_between_two_requests_starts_again(server: Server, manifest: Manifest, name: str):
    """The first bytes are those of another file of the same size."""
    data = (server.folder / name).read_bytes()
    server.fail(name, lambda handler, _, start: cut(1000)(handler, bytes(len(data)), start))
    assert manifest.path(name).read_bytes() == data
    assert server.ranges(name) == ["", "bytes=1000-", ""]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (corrupt, r"is damaged: its sha256 is \w{12}\.\.\., the manifest says"),
        (unbounded, r"has more than \d+ bytes$"),
        (other(b"short"), r"has 5 bytes, the manifest says"),
        (other(bytes(10_000_000)), r"has 10000000 bytes, the manifest says"),
    ],
)
def test_a_wrong_file_is_downloaded_once_more_from_the_start(
    fault: bad_server.Fault, message: str, server: Server, manifest: Manifest, name: str, tmp_path: Path
):
    server.fail(name, fault)
    assert manifest.path(name).read_bytes() == (server.folder / name).read_bytes()
    assert server.ranges(name) == ["", ""]
    server.fail(other_name := manifest.shards[1].name, then=repeat(fault))
    with pytest.raises(DownloadError, match=message):
        manifest.path(other_name)
    assert server.ranges(other_name) == ["", ""]
    assert parts(tmp_path) == []
    assert not list(tmp_path.rglob(f"*{other_name}"))


def test_redirects_are_followed_with_the_range(server: Server, manifest: Manifest, name: str, shards: Path):
    to = status(302, Location=f"{server.address}/elsewhere")
    server.fail(name, to, to)
    data = (shards / name).read_bytes()

    def send(handler: bad_server.Handler, _: bytes, start: int) -> None:
        (bad_server.send if start else cut(1000))(handler, data, start)

    server.fail("elsewhere", send, send)
    assert manifest.path(name).read_bytes() == data
    assert server.ranges("elsewhere") == ["", "bytes=1000-"]


def test_a_loop_of_redirects_is_an_error(server: Server, manifest: Manifest, name: str):
    server.fail(name, then=repeat(status(302, Location=f"{server.address}/{name}")))
    with pytest.raises(DownloadError, match="could not be downloaded: HTTP Error 302"):
        manifest.path(name)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_not_tried_again(code: int, server: Server, name: str, pauses: list[float], tmp_path: Path):
    server.fail(name, then=repeat(status(code)))
    reason = "does not exist$" if code in (404, 410) else f"could not be downloaded: HTTP Error {code}: "
    with pytest.raises(DownloadError, match=reason) as caught:
        attempts.download(f"{server.address}/{name}", tmp_path / "part")
    assert caught.value.is_answered
    assert caught.value.is_missing == (code in (404, 410))
    assert server.ranges(name) == [""]
    assert pauses == []


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503])
def test_a_busy_server_is_tried_again(code: int, server: Server, manifest: Manifest, name: str, pauses: list[float]):
    """The pauses double, less a random part of up to a half that no seed determines."""
    for shard in manifest.shards[:2]:
        server.fail(shard.name, *[status(code)] * 3)
        random.seed(1)
        manifest.path(shard.name)
        assert len(server.ranges(shard.name)) == 4
    assert len(set(pauses)) == 6
    for n, pause_s in enumerate(pauses):
        assert 0.5 <= pause_s / (attempts.FIRST_PAUSE_S * 2 ** (n % 3)) <= 1


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(("asked_s", "expected_s"), [("7", 7), ("0", 0), ("1000", 60), ("date", 30), ("soon", None)])
def test_retry_after_is_obeyed_up_to_a_minute(
    code: int,
    asked_s: str,
    expected_s: float | None,
    server: Server,
    manifest: Manifest,
    name: str,
    pauses: list[float],
):
    text = formatdate(time.time() + 30, usegmt=True) if asked_s == "date" else asked_s
    server.fail(name, status(code, Retry_After=text))
    manifest.path(name)
    assert len(pauses) == 1
    if expected_s is None:
        assert 0 < pauses[0] <= attempts.FIRST_PAUSE_S
    else:
        assert expected_s - 3 <= pauses[0] <= expected_s


def test_retry_after_of_another_status_is_ignored(server: Server, manifest: Manifest, name: str, pauses: list[float]):
    server.fail(name, status(500, Retry_After="7"))
    manifest.path(name)
    assert pauses[0] <= attempts.FIRST_PAUSE_S


@pytest.mark.parametrize("fault", [status(404), status(500), corrupt, stall()])
def test_a_bad_shard_is_given_up_once(
    fault: bad_server.Fault, server: Server, manifest: Manifest, name: str, monkeypatch: pytest.MonkeyPatch
):
    """Its rows fail with one message, in whichever thread they are requested."""
    monkeypatch.setenv("GTZAN_STREAM_TIMEOUT_S", "0.05")
    server.fail(name, then=repeat(fault))
    for download in manifest.folder.prefetch([name, name]):
        assert isinstance(download.exception(), DownloadError)
    n_requests = len(server.requests)
    message, key = str(download.exception()), manifest.keys[0].as_py()
    for _ in range(3):
        with pytest.raises(BadSample) as caught:
            ClipReader(manifest).read(0, 0, np.empty(10, np.int16))
        assert str(caught.value) == f"{server.address}/{name}, key {key}: {message}"
    assert len(server.requests) == n_requests


@pytest.mark.parametrize("shuffle_shards", [None, 1])
def test_a_loader_skips_the_rows_of_a_bad_shard(
    shuffle_shards: int | None, server: Server, manifest: Manifest, name: str
):
    server.fail(name, then=repeat(status(500)))
    with Loader(
        server.address, batch_size=4, on_error="skip", crops_per_clip=5, augment="none", shuffle_shards=shuffle_shards
    ) as loader:
        list(loader)
        assert len(loader.skipped) >= 5 * int((manifest.shard == 0).sum())  # fillers may be among them
        assert all(name in message for message in loader.skipped)
        assert len(server.ranges(name)) == attempts.ATTEMPTS
        list(loader)  # the next epoch
    assert len(server.ranges(name)) == attempts.ATTEMPTS


@pytest.mark.parametrize("fault", [corrupt, status(404), other(b"of another size")])
def test_a_set_that_was_replaced_while_in_use_is_a_user_error(
    fault: bad_server.Fault, server: Server, manifest: Manifest, name: str
):
    text = (server.folder / "manifest.json").read_text()
    server.fail(name, then=repeat(fault))
    server.fail("manifest.json", other(text.replace(manifest.shards[0].sha256, "0" * 64).encode()))
    for _ in range(2):
        with pytest.raises(UserError, match="was packed again while it was in use: create a new loader") as caught:
            ClipReader(manifest).read(0, 0, np.empty(10, np.int16))
        assert not isinstance(caught.value, BadSample)
    assert len(server.ranges("manifest.json")) == 2


def test_a_bad_shard_of_a_set_that_was_not_replaced_is_a_bad_sample(server: Server, manifest: Manifest, name: str):
    for number, replies in enumerate(([], [other(b"no manifest")], [status(404)])):
        server.fail(manifest.shards[number].name, then=repeat(corrupt))
        server.fail("manifest.json", *replies)
        with pytest.raises(DownloadError, match="is damaged: its sha256 is"):
            manifest.path(manifest.shards[number].name)


def test_a_finished_download_is_logged_with_its_rate(
    server: Server, manifest: Manifest, name: str, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, logger="gtzan_stream"):
        manifest.path(name)
    messages = [record.message for record in caplog.records if record.levelno == logging.INFO]
    assert len(messages) == 1
    assert re.fullmatch(
        rf"{server.address}/{name}: {manifest.shards[0].size / 1e6:.1f} MB in .* s, .* MB/s", messages[0]
    )
