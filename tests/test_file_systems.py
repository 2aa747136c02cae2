"""Downloads through fsspec: a deadline for libraries that block, blocks that fit the speed, resumed downloads."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest

from gtzan_stream.download import attempts, file_system
from gtzan_stream.download.attempts import DownloadError, download
from gtzan_stream.download.file_system import within
from gtzan_stream.download.source import is_unreachable
from gtzan_stream.loader import Loader
from gtzan_stream.store.manifest import Manifest
from tests.conftest import need
from tests.loader_cases import assert_same, collect

CONTENT = bytes(range(256)) * 160


class SlowFile:
    """A file of a library: before a read it calls `before(position, n_bytes)`, which may block or raise."""

    def __init__(self, before: Callable[[int, int], object], *, seekable: bool = True) -> None:
        self.before, self.seekable, self.position, self.reads = before, seekable, 0, list[tuple[int, int]]()
        self.size = len(CONTENT)

    def open(self, path: str, mode: str, **options: str) -> "SlowFile":
        assert options == {"cache_type": "none"}  # another cache would read ahead
        self.position = 0
        return self

    def seek(self, position: int) -> None:
        if not self.seekable:
            raise OSError("this is a stream")
        self.position = position

    def read(self, n_bytes: int) -> bytes:
        self.reads.append((self.position, n_bytes))
        self.before(self.position, n_bytes)
        block = CONTENT[self.position : self.position + n_bytes]
        self.position += len(block)
        return block

    def close(self) -> None:
        pass


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[SlowFile], SlowFile]:
    """Return a function that makes fsspec find a file at every address; blocks begin with 1,024 bytes."""
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(file_system, "_FIRST_BLOCK", 1024)
    monkeypatch.setattr(file_system, "_MIN_BLOCK", 16)

    def use(file: SlowFile) -> SlowFile:
        monkeypatch.setattr(file_system, "find_file_system", lambda address: (file, address))
        return file

    return use


def test_a_call_that_blocks_is_given_up(use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GTZAN_STREAM_TIMEOUT_S", "0.2")
    released = threading.Event()
    file = use(SlowFile(lambda position, n_bytes: released.wait(20) if position else None))
    with pytest.raises(DownloadError, match=r"^x://y could not be downloaded in 4 attempts: the server sent no"):
        download("x://y", tmp_path / "part")
    released.set()
    assert (tmp_path / "part").read_bytes() == CONTENT[:1024]
    assert [start for start, _ in file.reads] == [0, *[1024] * 4]


def test_a_connection_that_blocks_when_it_is_opened_is_given_up(use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    released = threading.Event()
    monkeypatch.setenv("GTZAN_STREAM_TIMEOUT_S", "0.02")
    file = use(SlowFile(lambda *_: None))
    file.open = lambda *_, **__: released.wait(20)  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(DownloadError, match="the server sent no data for"):
        download("x://y", tmp_path / "part")
    released.set()


def test_a_download_does_not_wait_until_its_file_is_closed(use, tmp_path: Path):
    released, closed = threading.Event(), list[bool]()
    file = use(SlowFile(lambda *_: None))
    file.close = lambda: closed.append(released.wait(3))  # type: ignore[method-assign, assignment]
    download("x://y", tmp_path / "part")
    assert closed == []
    released.set()


def test_after_a_failure_the_blocks_are_small(use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A link on which no large block arrives within the deadline is slow, not silent."""
    monkeypatch.setenv("GTZAN_STREAM_TIMEOUT_S", "0.2")
    released = threading.Event()
    file = use(SlowFile(lambda position, n_bytes: released.wait(20) if n_bytes > 200 else None))
    monkeypatch.setattr(file_system, "_MAX_BLOCK", 200)
    download("x://y", tmp_path / "part")
    released.set()
    assert (tmp_path / "part").read_bytes() == CONTENT
    assert [n_bytes for _, n_bytes in file.reads[:3]] == [1024, 128, 200]


def test_blocks_grow_while_they_arrive_fast_and_shrink_when_they_are_slow(
    use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seconds, now = [0.1, 0.9, 2.0, 3.9, 4.1, 5.0, *[2.0] * 99], [0.0]

    def advance(position: int, n_bytes: int) -> None:
        now[0] += seconds.pop(0)

    monkeypatch.setattr(file_system, "time", SimpleNamespace(monotonic=lambda: now[0]))
    file = use(SlowFile(advance))
    download("x://y", tmp_path / "part")
    assert [n_bytes // 1024 for _, n_bytes in file.reads[:7]] == [1, 2, 4, 4, 4, 2, 1]


@pytest.mark.parametrize("seekable", [True, False])
def test_a_broken_read_goes_on_or_starts_again(seekable: bool, use, tmp_path: Path):
    errors: list[Exception] = [KeyError("of a library"), TimeoutError(), ConnectionResetError()]

    def fail(position: int, n_bytes: int) -> None:
        if position >= 3072 and errors:
            raise errors.pop()

    file = use(SlowFile(fail, seekable=seekable))
    download("x://y", tmp_path / "part", size=len(CONTENT))
    assert (tmp_path / "part").read_bytes() == CONTENT
    starts = [start for start, _ in file.reads]
    assert starts.count(0) == (1 if seekable else 4)


def test_an_error_without_a_message_has_a_reason(use, tmp_path: Path):
    class SilentError(Exception):
        pass

    def fail(position: int, n_bytes: int) -> None:
        raise SilentError

    use(SlowFile(fail))
    with pytest.raises(DownloadError, match=r"in 4 attempts: SilentError$"):
        download("x://y", tmp_path / "part")


@pytest.mark.parametrize("error", [FileNotFoundError("x"), PermissionError("denied"), ValueError("no such option")])
def test_a_refusal_of_a_library_is_not_tried_again(error: Exception, use, tmp_path: Path):
    def fail(position: int, n_bytes: int) -> None:
        raise error

    file = use(SlowFile(fail))
    with pytest.raises(DownloadError, match=r"x://y (does not exist|could not be .*: denied|.*no such option)$"):
        download("x://y", tmp_path / "part")
    assert len(file.reads) == 1


def test_the_status_of_a_library_counts(use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As in the errors of httpx and of gcsfs."""
    pauses: list[float] = []
    monkeypatch.setattr(attempts, "wait", pauses.append)

    class Response:
        status_code, headers = 429, {"Retry-After": "12"}

    class StatusError(Exception):
        response = Response()

    class Refusal(Exception):
        code = 403

    errors: list[Exception] = [Refusal("no"), StatusError("busy")]

    def fail(position: int, n_bytes: int) -> None:
        raise errors.pop()

    use(SlowFile(fail))
    with pytest.raises(DownloadError, match=r"downloaded in 2 attempts: no$"):
        download("x://y", tmp_path / "part")
    assert pauses == [12]


def test_an_error_inside_a_call_is_raised():
    with pytest.raises(ZeroDivisionError):
        within(1, lambda: 1 // 0)
    assert within(1, divmod, 7, 2) == (3, 1)


def test_an_error_that_hides_a_refused_connection_means_that_no_server_can_be_reached(use, tmp_path: Path):
    """Libraries raise errors of their own, often without `from`."""

    def fail(position: int, n_bytes: int) -> None:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError:
            raise KeyError("endpoint")  # noqa: B904

    file = use(SlowFile(fail))
    with pytest.raises(DownloadError, match="could not be downloaded: 'endpoint'") as caught:
        download("x://y", tmp_path / "part", patient=False)
    assert len(file.reads) == 1
    assert not caught.value.is_answered
    error = KeyError("busy")
    error.__context__ = ConnectionRefusedError()
    assert is_unreachable(error)
    error.code = 503  # type: ignore[attr-defined]
    assert not is_unreachable(error)  # a server answered


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 server on this machine, with a bucket `music`."""
    need("moto")
    need("s3fs")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "ENDPOINT_URL": address}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    files.mkdir("music")
    yield files
    server.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_s3_shards_stream_like_local_ones(s3, shards: Path, reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A download that another process began is continued with a range."""
    s3.put(f"{shards}/", "music/set/", recursive=True)
    monkeypatch.setenv("GTZAN_STREAM_CACHE", str(tmp_path))
    manifest = Manifest.open("s3://music/set")
    shard = manifest.shards[0]
    part = manifest.folder.cache / f"{shard.sha256[:16]}-{shard.name}.{shard.size}.part"
    part.write_bytes((shards / shard.name).read_bytes()[:5000])
    manifest.path(shard.name)
    assert manifest.folder.cache_state()["downloaded_bytes"] == shard.size - 5000 + manifest.tables[0]["size"]
    assert_same(collect(Loader("s3://music/set", batch_size=8, seed=3, crops_per_clip=4)), reference)
    s3.rm(f"music/set/{shard.name}")
    (manifest.folder.cache / part.name.removesuffix(f".{shard.size}.part")).unlink()
    with pytest.raises(DownloadError, match=rf"s3://music/set/{shard.name} does not exist$"):
        manifest.path(shard.name)
