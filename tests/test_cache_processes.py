"""One cache for several processes: one download of each file, one limit, and no leftovers of killed processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from gtzan_stream.download.attempts import DownloadError
from gtzan_stream.errors import WriteError
from gtzan_stream.folders import lock_file, unlock
from gtzan_stream.store import cache
from gtzan_stream.store.cache import publish, reserved, used_bytes
from gtzan_stream.store.manifest import Manifest
from tests.bad_server import Server, drip, stall
from tests.waiting import wait_for

ROOT = Path(__file__).parent.parent
PROGRAM = """
import sys
from gtzan_stream.store.manifest import Manifest
manifest = Manifest.open(sys.argv[1])
for shard in manifest.shards:
    manifest.path(shard.name)
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks")


@pytest.fixture
def start() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Return a function that starts a process which downloads all shards of an address."""
    with ExitStack() as stack:

        def start(address: str) -> subprocess.Popen[str]:
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-c", PROGRAM, address]
            process = stack.enter_context(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a cache."""
    monkeypatch.setattr(cache, "_POLL_S", 0.005)
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def put(folder: Path, name: str, size: int, time_s: int) -> Path:
    """Put a file into the cache that was used last at `time_s`."""
    (folder / name).write_bytes(bytes(size))
    os.utime(folder / name, (time_s, time_s))
    return folder / name


def test_three_processes_download_each_file_once(server: Server, shards: Path, start, tmp_path: Path):
    names = sorted(path.name for path in shards.iterdir() if path.name not in ("manifest.json", "splits.parquet"))
    for name in names:
        server.fail(name, drip(3, 0.05))
    processes = [start(server.address) for _ in range(3)]
    for process in processes:
        assert process.communicate() == (None, "")
        assert process.returncode == 0
    assert {name: server.ranges(name) for name in names} == {name: [""] for name in names}
    assert not list(tmp_path.rglob("*.part"))


def test_a_download_of_a_killed_process_is_continued(server: Server, start, tmp_path: Path):
    manifest = Manifest.open(server.address)
    name = manifest.shards[0].name
    server.fail(name, stall(5000))
    process = start(server.address)
    wait_for(lambda: [path for path in manifest.folder.cache.glob("*.part") if path.stat().st_size == 5000])
    waiting = threading.Thread(target=manifest.path, args=[name])  # it waits for the process until that is killed
    waiting.start()
    time.sleep(0.1)
    assert server.ranges(name) == [""]
    process.send_signal(signal.SIGKILL)
    waiting.join()
    assert manifest.path(name).read_bytes() == (server.folder / name).read_bytes()
    assert server.ranges(name) == ["", "bytes=5000-"]
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(("change", "ranges"), [(b"", []), (b"more", [""])])
def test_a_complete_part_file_is_used_and_a_longer_one_is_not(change: bytes, ranges: list[str], server: Server):
    manifest = Manifest.open(server.address)
    shard, data = manifest.shards[0], (server.folder / manifest.shards[0].name).read_bytes()
    (manifest.folder.cache / f"{shard.sha256[:16]}-{shard.name}.{shard.size}.part").write_bytes(data + change)
    assert manifest.path(shard.name).read_bytes() == data
    assert server.ranges(shard.name) == ranges


def test_part_files_of_another_set_are_removed_when_a_set_is_opened(server: Server, tmp_path: Path):
    manifest = Manifest.open(server.address)
    folder, shard = manifest.folder.cache, manifest.shards[0]
    known = put(folder, f"{shard.sha256[:16]}-{shard.name}.{shard.size}.part", 10, 1)
    unknown = put(folder, "0123-old.tar.100.part", 10, 1)
    with reserved(folder / "0123-new.tar", 100, 1000) as running:
        Manifest.open(server.address)
        assert known.exists()
        assert not unknown.exists()
        assert running.exists()


def test_an_abandoned_part_file_counts_and_is_evicted_like_a_shard(folder: Path):
    part = put(folder, "a.tar.900.part", 40, 2)
    old, new = put(folder, "b.tar", 30, 1), put(folder, "c.tar", 30, 3)
    assert used_bytes(folder) == 100
    with reserved(folder / "d.tar", 1, limit_bytes=100):
        assert [path.exists() for path in (old, part, new)] == [False, True, True]
    with reserved(folder / "d.tar", 31, limit_bytes=100):
        assert [path.exists() for path in (old, part, new)] == [False, False, True]


def test_the_own_part_file_is_not_evicted_and_does_not_count_twice(folder: Path):
    part, other = put(folder, "a.tar.60.part", 50, 1), put(folder, "b.tar", 40, 2)
    with reserved(folder / "a.tar", 60, limit_bytes=100) as reservation:
        assert reservation == part
        assert part.stat().st_size == 50
        assert other.exists()


def test_a_download_waits_until_those_of_others_leave_room(folder: Path):
    """Reservations count, even if no bytes have arrived. Nothing is evicted before there can be enough room."""
    shard = put(folder, "c.tar", 59, 1)
    done = threading.Event()

    def download_other() -> None:
        with reserved(folder / "b.tar", 60, limit_bytes=100) as part:
            assert not (folder / "a.tar").exists()
            part.write_bytes(bytes(60))
            publish(part, folder / "b.tar", 60)
        done.set()

    other = threading.Thread(target=download_other, daemon=True)
    with reserved(folder / "a.tar", 41, limit_bytes=100) as part:
        other.start()
        assert not done.wait(0.05)
        assert shard.exists()
        part.write_bytes(bytes(41))
        publish(part, folder / "a.tar", 41)
    other.join()
    assert done.is_set()
    assert [path.name for path in folder.glob("*.tar")] == ["b.tar"]


def test_room_is_reserved_and_files_are_renamed_by_one_process_at_a_time(folder: Path):
    """Otherwise two processes could reserve the same room, or one could miss a file that the other renames."""

    def download_other() -> None:
        with reserved(folder / "a.tar", 5, 100) as part:
            part.write_bytes(b"12345")
            lock.append(lock_file(folder / ".lock"))
            publishing = threading.Thread(target=publish, args=[part, folder / "a.tar", 5])
            publishing.start()
            time.sleep(0.05)
            assert not (folder / "a.tar").exists()
            unlock(lock[1])
            publishing.join()

    lock = [lock_file(folder / ".lock")]
    other = threading.Thread(target=download_other, daemon=True)
    other.start()
    time.sleep(0.05)
    assert [path.name for path in folder.iterdir()] == [".lock"]
    unlock(lock[0])
    other.join()
    assert (folder / "a.tar").read_bytes() == b"12345"


def test_a_download_that_fits_beside_others_does_not_wait(folder: Path):
    with reserved(folder / "a.tar", 40, limit_bytes=100), reserved(folder / "b.tar", 60, limit_bytes=100) as part:
        assert part is not None


def test_tables_neither_need_room_nor_count(folder: Path):
    shard, part = put(folder, "a.tar", 90, 2), put(folder, "b.parquet.50.part", 40, 1)
    with reserved(folder / "c.parquet", 50, limit_bytes=100), reserved(folder / "d.tar", 10, limit_bytes=100):
        assert shard.exists()
        assert part.exists()


def test_a_file_larger_than_the_limit_is_downloaded_alone(folder: Path):
    other = put(folder, "a.tar", 10, 1)
    with reserved(folder / "b.tar", 1000, limit_bytes=100) as part:
        assert part is not None
        assert not other.exists()


def test_who_waits_for_another_download_gets_its_file(folder: Path):
    found: list[Path | None] = []

    def download_other() -> None:
        with reserved(folder / "a.tar", 5, 100) as part:
            found.append(part)

    other = threading.Thread(target=download_other, daemon=True)
    with reserved(folder / "a.tar", 5, 100) as part:
        other.start()
        time.sleep(0.03)
        assert found == []
        part.write_bytes(b"12345")
        publish(part, folder / "a.tar", 5)
    other.join()
    assert found == [None]


def test_what_a_failed_download_leaves(folder: Path):
    """Bytes that have arrived stay for the next attempt; an empty file does not, nor does one on a full disk."""
    for error, content, stays in ((DownloadError, b"1", True), (DownloadError, b"", False), (WriteError, b"1", False)):
        with suppress(error), reserved(folder / "a.tar", 5, 100) as part:
            part.write_bytes(content)
            raise error("reason")
        assert part.exists() == stays


@pytest.mark.parametrize("reason", ["no fcntl", "no locks"])
def test_without_locks_each_download_has_a_file_of_its_own(reason: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    from gtzan_stream import folders

    if reason == "no fcntl":
        monkeypatch.setattr(folders, "fcntl", None)
    else:

        def flock(descriptor: int, operation: int) -> None:
            raise OSError("No locks available")

        monkeypatch.setattr(folders.fcntl, "flock", flock)
    old = put(folder, "c.tar.40.part", 40, 1)
    with reserved(folder / "a.tar", 40, 100) as first, reserved(folder / "a.tar", 40, 100) as second:
        assert first != second
        assert not old.exists()
        first.write_bytes(bytes(40))
        second.write_bytes(b"1")
        publish(first, folder / "a.tar", 40)
    assert {path.name for path in folder.iterdir()} - {".lock"} == {"a.tar"}


def test_the_end_of_a_program_does_not_wait_for_downloads(server: Server, tmp_path: Path):
    """Neither for the one that runs nor for those that wait for a thread."""
    program = PROGRAM.partition("for shard")[0] + "manifest.folder.prefetch([s.name for s in manifest.shards])\n"
    manifest = Manifest.open(server.address)
    for shard in manifest.shards:
        server.fail(shard.name, drip(400, 0.02))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    program += "import time\nwhile not list(manifest.folder.cache.glob('*.part')):\n    time.sleep(0.01)"
    done = subprocess.run([sys.executable, "-c", program, server.address], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len([shard for shard in manifest.shards if server.ranges(shard.name)]) <= 2
    assert not list(tmp_path.rglob("*.tar"))
