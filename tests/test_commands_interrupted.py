"""Ctrl-C in the commands: exit status 130, and one line that says truly what was saved and how to continue."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream import console
from gtzan_stream.cli import main
from gtzan_stream.commands import shards as commands
from gtzan_stream.inference import export
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.verify import verify
from tests.conftest import write_wav
from tests.test_classify import Level, model_of
from tests.test_cli import ROOT, Result

AGAIN = "the same command starts from the beginning"


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Write four clips of a second."""
    rng = np.random.default_rng(0)
    for name in ("rock/1", "rock/2", "jazz/1", "jazz/2"):
        write_wav(tmp_path / f"music/{name}.wav", rng.integers(-9000, 9000, 22050).astype(np.int16))
    return tmp_path / "music"


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Result]]:
    """Return a function that runs a command with SIGINT in a stage, and returns what it printed."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have made the tests ignore it

    def run(stage: str, *arguments: object, after: float = 0) -> Result:
        original = console.progress_bars

        @contextmanager
        def bars(*first: str) -> Iterator[console.OnStage]:
            with original(*first) as show:

                def show_and_stop(name: str, done: float, total: float | None) -> None:
                    show(name, done, total)
                    if name == stage and done > after:
                        os.kill(os.getpid(), signal.SIGINT)
                        time.sleep(10)

                yield show_and_stop

        with monkeypatch.context() as patch:
            patch.setattr(console, "progress_bars", bars)
            patch.setattr(commands, "progress_bars", bars)
            patch.setattr(sys, "argv", ["gtzan-stream", *map(str, arguments)])
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        assert ended.value.code == 130
        return Result(*capsys.readouterr())

    yield run
    signal.signal(signal.SIGINT, before)


def test_pack_and_index_leave_the_earlier_set(interrupted, music: Path, tmp_path: Path):
    folder = tmp_path / "shards"
    done = interrupted("packing", "pack", music, folder, "--json", after=1)
    assert done.stderr.endswith(f"gtzan-stream: interrupted; nothing was saved; {AGAIN}\n")
    assert done.stdout == ""
    assert not folder.exists()
    digest = pack(music, folder).digest
    unchanged = f"gtzan-stream: interrupted; the set in {folder} is unchanged; {AGAIN}\n"
    for arguments in (("pack", music, folder, "--codec", "flac"), ("index", folder)):
        for stage in ("packing" if arguments[0] == "pack" else "reading shards", "writing tables"):
            assert interrupted(stage, *arguments, after=-1).stderr.endswith(unchanged)
            manifest = Manifest.open(folder)
            assert (manifest.digest, verify(manifest)) == (digest, [])


def test_a_set_that_is_complete_when_pack_is_interrupted_is_the_new_one(
    interrupted, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from gtzan_stream.store import swap

    folder, fsync = tmp_path / "shards", swap.fsync
    pack(music, folder)

    def stop(path: Path) -> None:
        if path == folder and (folder / swap.INCOMING).exists():  # the new set has replaced the old one
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        fsync(path)

    monkeypatch.setattr(swap, "fsync", stop)
    done = interrupted("", "pack", music, folder, "--codec", "flac")
    assert done.stderr.endswith(f"gtzan-stream: interrupted; the new set in {folder} is complete\n")
    manifest = Manifest.open(folder)
    assert set(manifest.column("encoding").to_pylist()) == {"flac"}
    assert verify(manifest) == []


def test_demo_saves_nothing_before_its_set_is_complete(interrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = interrupted("synthesising", "demo", tmp_path / "shards")
    assert done.stderr == f"gtzan-stream: interrupted; nothing was saved; {AGAIN}\n"
    assert not list(tmp_path.iterdir())


def test_fetch_says_what_it_keeps(interrupted, music: Path, tmp_path: Path):
    archive, folder = tmp_path / "genres.tar", tmp_path / "gtzan"
    for path in music.rglob("*.wav"):
        write_wav(path, np.random.default_rng(0).integers(-9000, 9000, 600_000).astype(np.int16))
    with tarfile.open(archive, "w") as tar:
        tar.add(music, "genres")
    fetch = ("fetch", folder, "--url", archive.as_uri())
    assert interrupted("download", *fetch, after=-1).stderr == (
        f"gtzan-stream: interrupted; nothing was saved; {AGAIN}\n"
    )
    assert not folder.exists()
    done = interrupted("download", *fetch)
    part = folder / "genres.tar.part"
    kept = part.stat().st_size
    assert 0 < kept < archive.stat().st_size
    assert done.stderr == (
        f"gtzan-stream: interrupted; {kept / 1e6:.1f} MB are kept in {part}; the same command continues the download\n"
    )
    done = interrupted("unpack", *fetch)
    whole = folder / "genres.tar"
    assert done.stderr == f"gtzan-stream: interrupted; {whole} is complete; the same command unpacks it again\n"
    assert [*folder.iterdir()] == [whole]
    assert whole.read_bytes() == archive.read_bytes()


def test_preview_writes_nothing_before_its_page_is_complete(interrupted, shards: Path, tmp_path: Path):
    out = tmp_path / "preview.html"
    result = interrupted("computing crops", "preview", shards, "--out", out, "--count", 1, after=2)
    assert result.stderr == f"gtzan-stream: interrupted; {out} was not written; {AGAIN}\n"
    assert not [*tmp_path.iterdir()]


def test_verify_prints_the_problems_that_it_found(interrupted, shards: Path, tmp_path: Path):
    done = interrupted("verifying", "verify", shards)
    assert done.stderr == f"gtzan-stream: interrupted; 0 problems until then; {AGAIN}\n"
    assert done.stdout == ""


@pytest.mark.parametrize("as_json", [True, False])
def test_classify_prints_the_results_of_the_files_that_are_done(
    interrupted, music: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
):
    monkeypatch.setattr(export.Model, "load", lambda path: model_of(Level()))
    monkeypatch.setattr(console.out, "width", 200)
    done = interrupted("classifying", "classify", "model.pt2", music, *["--json"] * as_json, after=1)
    assert done.stderr == (
        f"gtzan-stream: interrupted; 1 of 4 files are done, the next is {music}/jazz/2.wav; {AGAIN}\n"
    )
    if as_json:
        assert [track["file"] for track in json.loads(done.stdout)] == [f"{music}/jazz/1.wav"]
    else:
        assert f"{music}/jazz/1.wav" in done.stdout
        assert "jazz/2.wav" not in done.stdout


def stopped(
    arguments: list[str], cwd: Path, has_begun: Callable[[subprocess.Popen[str]], bool]
) -> subprocess.CompletedProcess[str]:
    """Run a program, send it SIGINT once `has_begun` is true, and wait for its end."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        while not has_begun(process):
            assert process.poll() is None, "it ended before it could be interrupted"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def test_a_real_ctrl_c_ends_pack_with_one_line(tmp_path: Path):
    """The signal comes while threads decode: the first shard is open."""
    noise = np.random.default_rng(0).integers(-9000, 9000, 44100 * 60).astype(np.int16)
    for i in range(8):
        write_wav(tmp_path / f"music/rock/{i}.wav", noise, 44100)

    def has_begun(_: object) -> bool:
        time.sleep(0.02)
        return any((tmp_path / "shards").glob(".packing-*/*"))

    done = stopped(["-m", "gtzan_stream", "pack", "music", "shards"], tmp_path, has_begun)
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, last) == (130, f"gtzan-stream: interrupted; nothing was saved; {AGAIN}")
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["music"]


def test_a_real_ctrl_c_while_train_py_imports_torch_is_one_line(tmp_path: Path):
    def has_begun(process: subprocess.Popen[str]) -> bool:
        return "torch" in process.stderr.readline()  # type: ignore[union-attr]

    done = stopped(["-X", "importtime", str(ROOT / "train.py")], tmp_path, has_begun)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "Interrupted while starting; nothing was saved: run the command again"
    assert "Traceback" not in done.stderr
