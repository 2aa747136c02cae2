"""Fetching GTZAN from a local server: broken connections, servers with and without ranges, truncated archives."""

import io
import random
import tarfile
import threading
from collections.abc import Iterator
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gtzan_stream.catalog import fetch, unpack
from gtzan_stream.download import attempts
from gtzan_stream.errors import UserError

NOISE = random.Random(0)
CLIPS = {f"genres/{name}/{name}.0000{i}.wav": NOISE.randbytes(30_000) for name in ("blues", "rock") for i in range(3)}


class Server(ThreadingHTTPServer):
    """Server of `content` at /genres.tar.gz.

    Each number of `cuts` ends one response after that many bytes. Each status of `busy` refuses one request. While
    `responding` is not set, the server sends nothing.
    """

    def __init__(self, content: bytes, *, ranges: bool, cuts: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.cuts, self.requests, self.busy = content, ranges, cuts, list[str](), list[int]()
        self.responding = threading.Event()
        self.responding.set()
        self.url = f"http://127.0.0.1:{self.server_port}/genres.tar.gz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        byte_range = self.headers.get("Range", "")
        self.server.requests.append(byte_range)
        self.server.responding.wait(20)
        if not self.path.startswith("/genres.tar.gz"):
            return self.send_error(404)
        if self.server.busy:
            return self.send_error(self.server.busy.pop(0))
        size = len(self.server.content)
        start = int(byte_range.removeprefix("bytes=").rstrip("-")) if byte_range and self.server.ranges else 0
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        stop = start + self.server.cuts.pop(0) if self.server.cuts else size
        return self.wfile.write(self.server.content[start:stop]) and None

    def log_message(self, *args: object) -> None:
        pass


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


ARCHIVE = tar_of(CLIPS)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Return a function that starts servers, which stop at the end of the test."""
    servers = []

    def start(content: bytes = ARCHIVE, *, ranges: bool = True, cuts: list[int] | None = None) -> Server:
        servers.append(Server(content, ranges=ranges, cuts=cuts or []))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return servers[-1]

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.001)
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def original(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the six clips of the test archive count as the original GTZAN."""
    sums = {Path(name).stem.replace(".", "_"): md5(data).hexdigest() for name, data in CLIPS.items()}
    monkeypatch.setattr(fetch, "CHECKSUMS", sums)
    monkeypatch.setattr(fetch, "ARCHIVE_MD5", md5(ARCHIVE).hexdigest())


def unpacked(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.wav") if p.is_file()}


@pytest.mark.usefixtures("original")
def test_whole_download_is_unpacked_and_identical(serve, tmp_path: Path) -> None:
    calls = []
    report = fetch.fetch(tmp_path / "new" / "gtzan", serve().url, progress=lambda *args: calls.append(args))
    assert unpacked(tmp_path / "new" / "gtzan") == CLIPS
    assert (report.identical, report.missing, report.different, report.extra, report.warning) == (6, (), (), (), None)
    assert sorted(p.name for p in report.folder.iterdir()) == ["genres", "genres.tar.gz"]
    assert ("download", len(ARCHIVE), len(ARCHIVE)) in calls
    assert [*dict.fromkeys(stage for stage, *_ in calls)] == ["download", "unpack", "compare"]
    assert ("unpack", len(ARCHIVE), len(ARCHIVE)) in calls


@pytest.mark.usefixtures("original")
def test_a_connection_that_breaks_twice_is_resumed(serve, tmp_path: Path) -> None:
    server = serve(cuts=[len(ARCHIVE) // 2, 1000])
    assert fetch.fetch(tmp_path, server.url).warning is None
    half = len(ARCHIVE) // 2
    assert server.requests == ["", f"bytes={half}-", f"bytes={half + 1000}-"]


@pytest.mark.usefixtures("original")
def test_a_later_call_resumes(serve, tmp_path: Path) -> None:
    (tmp_path / "genres.tar.gz.part").write_bytes(ARCHIVE[:5000])
    server = serve()
    assert fetch.fetch(tmp_path, server.url).warning is None
    assert server.requests == ["bytes=5000-"]


@pytest.mark.usefixtures("original")
def test_a_server_without_ranges_starts_again(serve, tmp_path: Path) -> None:
    server = serve(ranges=False, cuts=[len(ARCHIVE) // 2])
    assert fetch.fetch(tmp_path, server.url).warning is None
    assert len(server.requests) == 2


@pytest.mark.usefixtures("original")
@pytest.mark.parametrize("part", [ARCHIVE, ARCHIVE + b"of something longer"], ids=["whole", "longer"])
def test_a_complete_part_file_is_used(serve, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "genres.tar.gz.part").write_bytes(part)
    assert fetch.fetch(tmp_path, serve().url).warning is None


@pytest.mark.parametrize("status", [500, 503, 408, 429])
def test_a_busy_server_is_tried_again(status: int, serve, tmp_path: Path, monkeypatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(attempts, "wait", pauses.append)
    server = serve(cuts=[5000])
    server.busy = [status] * 2
    assert unpacked(fetch.fetch(tmp_path, server.url).folder) == CLIPS
    assert len(pauses) == 3


def test_a_server_that_sends_nothing_times_out(serve, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GTZAN_STREAM_TIMEOUT_S", "0.05")
    server = serve()
    server.responding.clear()
    with pytest.raises(UserError, match=r"no data for 0\.05 s.*by hand and put it at .*genres\.tar\.gz"):
        fetch.fetch(tmp_path, server.url)
    server.responding.set()


def test_a_connection_without_progress_ends_with_a_remedy(serve, tmp_path: Path) -> None:
    server = serve(ranges=False, cuts=[3000, 2000, 3000, 2000, 3000])
    with pytest.raises(UserError, match=r"2000 of \d+ bytes.*by hand and put it at .*genres\.tar\.gz"):
        fetch.fetch(tmp_path, server.url)
    assert len(server.requests) <= 5
    assert not (tmp_path / "genres.tar.gz").exists()


def test_a_missing_file_is_requested_once(serve, tmp_path: Path) -> None:
    server = serve()
    url = server.url.replace("/genres", "/absent/genres")
    with pytest.raises(UserError, match=rf"not exist.*download {url} by hand and put it at {tmp_path}/genres\.tar\.gz"):
        fetch.fetch(tmp_path, url)
    assert len(server.requests) == 1


def test_an_archive_that_exists_is_not_downloaded(tmp_path: Path) -> None:
    (tmp_path / "genres.tar.gz").write_bytes(ARCHIVE)
    assert unpacked(fetch.fetch(tmp_path, "http://nowhere.invalid/genres.tar.gz").folder) == CLIPS


def test_file_addresses(tmp_path: Path) -> None:
    source = tmp_path / "my music.tgz"
    source.write_bytes(ARCHIVE)
    report = fetch.fetch(tmp_path / "out", source.as_uri())
    assert unpacked(report.folder) == CLIPS
    assert report.archive.name == "my music.tgz"
    with pytest.raises(UserError, match="by hand"):
        fetch.fetch(tmp_path / "out2", (tmp_path / "absent.tgz").as_uri())


def test_other_addresses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected an address that starts with http://, https:// or file://"):
        fetch.fetch(tmp_path, "ftp://host/genres.tar.gz")


@pytest.mark.usefixtures("original")
def test_differences_are_listed_and_do_not_stop_the_unpacking(tmp_path: Path) -> None:
    files = dict(CLIPS)
    del files["genres/blues/blues.00001.wav"]
    files["genres/rock/rock.00002.wav"] = b"no audio"
    files["genres/rock/rock.00100.wav"] = b"one more"
    files |= {"genres/rock/._rock.00000.wav": b"litter", "genres/.DS_Store": b"litter", "bextract_single.mf": b"litter"}
    (tmp_path / "genres.tar.gz").write_bytes(tar_of(files))
    report = fetch.fetch(tmp_path)
    assert (report.identical, report.missing) == (4, ("blues_00001",))
    assert (report.different, report.extra) == (("rock_00002",), ("rock_00100",))
    assert "md5" in (report.warning or "")
    assert "4 of 6 clips are identical" in str(report)
    assert "1 different: rock_00002" in str(report)
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith("._") or p.suffix in (".mf", ".DS_Store")]


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>not found</html>", ARCHIVE[: len(ARCHIVE) // 2], tar_of({})],
    ids=["empty", "html", "cut", "no files"],  # ids must not depend on the bytes, as gzip writes the time into them
)
def test_unreadable_archives_write_nothing_and_say_what_to_do(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "genres.tar.gz"
    archive.write_bytes(content)
    remedy = rf"delete {archive} and fetch again, or download {fetch.URL} by hand"
    with pytest.raises(UserError, match=rf"^{archive}: [^\n]*: {remedy}[^\n]*$"):
        fetch.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.usefixtures("original")
def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    damaged = bytearray(ARCHIVE)
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "genres.tar.gz").write_bytes(damaged)
    report = fetch.fetch(tmp_path)
    assert len(report.different) == 1
    assert report.warning


def test_unpacking_again_replaces_the_files(tmp_path: Path) -> None:
    archive = tmp_path / "genres.tar.gz"
    archive.write_bytes(ARCHIVE)
    unpack.unpack(archive, tmp_path)
    (tmp_path / "genres/rock/rock.00000.wav").write_bytes(b"edited")
    digests = unpack.unpack(archive, tmp_path)
    assert unpacked(tmp_path) == CLIPS
    assert {str(name): digest for name, digest in digests.items()} == {n: md5(d).hexdigest() for n, d in CLIPS.items()}


def test_an_invalid_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"http://\[bad is not an address"):
        fetch.fetch(tmp_path, "http://[bad")


def test_a_folder_that_cannot_be_created_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/gtzan cannot be written: Not a directory; choose another folder$"):
        fetch.fetch(tmp_path / "file" / "gtzan")
