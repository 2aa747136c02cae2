"""Runs that are stopped, that share a folder, and that are resumed with files missing."""

import errno
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream import folders
from gtzan_stream.inference import export
from gtzan_stream.normalization import Normalization
from gtzan_stream.training import checkpoints, metrics, report_page
from gtzan_stream.training.run import Run
from tests.train_cases import SMALL

pytestmark = pytest.mark.usefixtures("no_export")
locks = pytest.mark.skipif(folders.fcntl is None, reason="no locks here")


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Let Ctrl-C interrupt: a shell that runs the tests in the background makes them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def finished(unbroken: Path, tmp_path: Path) -> Path:
    """The folder of a finished run. Resuming it repeats the test and the report."""
    return Path(shutil.copytree(unbroken, tmp_path / "runs/a"))


def resume(go, folder: Path, *options: str) -> Any:
    return go("--resume", str(folder), *options, defaults=False)


def is_locked(folder: Path) -> bool:
    try:
        with folders.locked(folder):
            return False
    except BlockingIOError:
        return True


@locks
def test_a_folder_that_another_process_uses_is_refused(go, finished: Path):
    new = finished.parent / "new"
    new.mkdir()
    before = {path: path.read_bytes() for path in finished.iterdir()}
    with folders.locked(finished), folders.locked(new):
        results = [resume(go, finished), resume(go, finished / "last.pt")]
        results += [go("--out", str(finished.parent), "--name", name) for name in ("a", "new")]
    for result, folder in zip(results, [finished, finished, finished, new], strict=True):
        assert result.exit_code == 2
        remedy = "wait for it to end, or choose another --name"
        assert result.output == f"error: another train.py is using {folder}: {remedy}\n"
    assert {path: path.read_bytes() for path in finished.iterdir()} == before
    assert not list(new.iterdir())


@locks
def test_a_run_locks_its_folder_until_it_is_closed(go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, seen, kept = tmp_path / "a", [], []

    def watch(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def watched(self: Any, *arguments: Any) -> Any:
            seen.append((name, is_locked(folder)))
            kept.append(self)  # so that only `close` can unlock
            return original(self, *arguments)

        monkeypatch.setattr(owner, name, watched)

    watch(Normalization, "estimate")
    watch(Run, "step")
    watch(Run, "finish")
    assert go("--out", str(tmp_path), "--name", "a", *SMALL, "--steps", "1").exit_code == 0
    assert not is_locked(folder)
    assert resume(go, folder).exit_code == 0
    assert seen == [("estimate", True), ("step", True), ("finish", True), ("finish", True)]
    assert not is_locked(folder)


def test_a_run_works_on_a_file_system_without_locks(go, finished: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(folder: Path, **options: bool) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folders, "_lock", refuse)
    assert resume(go, finished).exit_code == 0


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("in the test", signal.SIGINT),
        ("in the test", signal.SIGTERM),  # after the test, SIGTERM kills the process
        ("in the export", signal.SIGINT),
        ("in the report", signal.SIGINT),
    ],
)
def test_a_run_that_is_stopped_after_its_last_epoch_says_how_to_continue(
    go, finished: Path, monkeypatch: pytest.MonkeyPatch, moment: str, number: signal.Signals
):
    owner, name = {
        "in the test": (metrics.Collector, "add"),
        "in the export": (export, "write"),
        "in the report": (report_page, "page"),
    }[moment]
    original = getattr(owner, name)

    def stop(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), number)
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, stop)
    result = resume(go, finished)
    assert result.exit_code == 128 + number
    assert f"\nInterrupted; continue with: python train.py --resume {finished}\n" in result.output
    monkeypatch.undo()
    assert resume(go, finished).exit_code == 0


def test_sigterm_while_training_is_exit_status_143(go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    step = Run.step

    def stop(self: Run, batch: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        step(self, batch)

    monkeypatch.setattr(Run, "step", stop)
    result = go("--out", str(tmp_path), "--name", "a")
    assert result.exit_code == 143
    assert f"continue with: python train.py --resume {tmp_path / 'a'}" in result.output


def test_ctrl_c_before_training_prints_one_line(go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Normalization, "estimate", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    result = go("--out", str(tmp_path / "runs"), "--name", "a")
    message = "Interrupted before training began; nothing was saved: run the command again\n"
    assert (result.exit_code, result.output) == (130, message)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("damage", ["missing", "cut", "a wrong byte"])
def test_a_best_checkpoint_that_is_missing_or_damaged_is_named_with_its_remedy(go, finished: Path, damage: str):
    path = finished / checkpoints.BEST
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole if damage == "a wrong byte" else whole[:1000])
    if damage == "missing":
        path.unlink()
    result = resume(go, finished)
    assert result.exit_code == 2
    messages = {
        "missing": "is missing: ",
        "cut": "cannot be read as a checkpoint (BadZipFile): ",
        "a wrong byte": "wrong; ",
    }
    last = result.output.splitlines()[-1]
    assert last.startswith(f"error: {path} ")
    assert last.endswith(messages[damage] + "copy it back, or start a new run")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "; make it writable, or copy the run elsewhere"),
        (errno.ENOSPC, ": make room, or copy the run elsewhere"),
    ],
)
def test_the_error_of_a_resumed_run_that_cannot_write_names_the_remedy(
    go, finished: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
):
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    result = resume(go, finished)
    assert result.exit_code == 2
    assert result.output.startswith(f"error: {finished}/config.json cannot be written: {os.strerror(number)}; ")
    assert result.output.endswith(f"{remedy}\n")


def test_a_history_that_was_removed_is_written_again(go, finished: Path):
    history = (finished / "metrics.jsonl").read_text()
    (finished / "metrics.jsonl").unlink()
    assert resume(go, finished).exit_code == 0
    assert (finished / "metrics.jsonl").read_text() == history
