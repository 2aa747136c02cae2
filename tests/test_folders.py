"""Temporary folders are removed after use and after errors; the next call removes those of killed processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gtzan_stream import folders
from gtzan_stream.errors import WriteError
from gtzan_stream.folders import created, scratch

HOLD = """
import sys, time
from pathlib import Path
from gtzan_stream.folders import scratch
with scratch(Path(sys.argv[1]), ".work-") as folder:
    (folder / "half").write_text("half")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process that has a scratch folder in `tmp_path`, and the path of that folder."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    program = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process, Path(process.stdout.readline().strip())  # type: ignore[union-attr]
        process.kill()


def test_folders_of_running_processes_stay_and_those_of_killed_ones_are_removed(other, tmp_path: Path):
    process, theirs = other
    with scratch(tmp_path, ".work-") as ours:
        assert (theirs / "half").exists()
        assert ours != theirs
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert theirs.exists()
    (tmp_path / ".work-file").write_text("half")
    (tmp_path / ".other").write_text("of the user")
    with scratch(tmp_path, ".work-") as ours:
        assert {path.name for path in tmp_path.iterdir()} == {ours.name, ".other"}
    assert {path.name for path in tmp_path.iterdir()} == {".other"}


def test_a_folder_that_was_removed_before_it_was_locked_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Another process may remove a new folder as a leftover, as long as it is not locked."""
    lock, removed = folders._lock, []

    def remove_first(folder: Path, **options: bool) -> int | None:
        if not removed:
            removed.append(folder)
            folder.rmdir()
            folder.mkdir()  # as if another process made one of the same name
            descriptor = lock(folder, **options)
            folder.rmdir()
            return descriptor
        return lock(folder, **options)

    monkeypatch.setattr(folders, "_lock", remove_first)
    with scratch(tmp_path, ".work-") as folder:
        assert folder.exists()
        assert folder != removed[0]


def test_new_folders_are_removed_after_an_error(tmp_path: Path):
    def fail(folder: Path, leave: str) -> None:
        with created(folder):
            (folder / leave).mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), created(tmp_path / "a/b"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyboardInterrupt), created(tmp_path / "there"):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path / "new", "of another process")
    assert {path.name for path in tmp_path.iterdir()} == {"there", "new"}


def test_a_folder_that_cannot_be_created_gives_a_one_line_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(WriteError, match=r"file/a cannot be written: Not a directory; choose another folder"),
        created(tmp_path / "file/a"),
    ):
        pass
    with (
        pytest.raises(WriteError, match=r"none cannot be written: No such file or directory"),
        scratch(tmp_path / "none", ".work-"),
    ):
        pass


def test_a_lock_is_released_though_a_forked_child_has_a_copy_of_its_descriptor(tmp_path: Path):
    lock = folders.lock_file(tmp_path / "lock")
    assert lock is not None
    copy = os.dup(lock)  # as after a fork
    with pytest.raises(BlockingIOError):
        folders.lock_file(tmp_path / "lock", wait=False)
    folders.unlock(lock)
    folders.unlock(folders.lock_file(tmp_path / "lock", wait=False))
    os.close(copy)
