"""Files are written whole or not at all; a full disk or a damaged file gives a one-line error."""

import errno
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from gtzan_stream.atomic import atomic_write, write_text
from gtzan_stream.cli import main
from gtzan_stream.errors import UserError, format_error
from gtzan_stream.training import checkpoints


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_replaces_the_old_one(tmp_path: Path):
    write_text(tmp_path / "new/a.txt", "één")
    write_text(tmp_path / "new/a.txt", "twee")
    assert (tmp_path / "new/a.txt").read_text(encoding="utf-8") == "twee"
    assert names(tmp_path / "new") == {"a.txt"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), RuntimeError("no")])
def test_an_error_while_writing_is_raised_and_the_old_file_stays(error: BaseException, tmp_path: Path):
    write_text(tmp_path / "a.txt", "old")

    def write() -> None:
        with atomic_write(tmp_path / "a.txt") as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == {"a.txt"}


def test_a_full_disk_is_a_one_line_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_text(tmp_path / "a.txt", "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = (
        r"a\.txt cannot be written: No space left on device; it needs about 2\.5 MB, [\d,.]+ MB are free there: make"
    )
    with pytest.raises(UserError, match=message), atomic_write(tmp_path / "a.txt", 2_500_000) as file:
        file.write(b"new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == {"a.txt"}


@pytest.mark.parametrize("path", [".", "/", "folder"])
def test_a_folder_instead_of_a_file_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is a folder: name a file in it"):
        write_text(Path(path), "x")
    assert names(tmp_path) == {"folder"}


def test_an_impossible_parent_folder_gives_an_error_that_names_the_file(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file/a\.txt cannot be written: .*; choose another folder"):
        write_text(tmp_path / "file/a.txt", "x")


FULL = """
import resource, signal, sys, torch
from gtzan_stream.cli import main
from gtzan_stream.errors import UserError, format_error
from gtzan_stream.training import checkpoints
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # like a disk with this much room
try:
    checkpoints.save(checkpoints.Path(sys.argv[1]), {"network": torch.nn.Linear(1000, 1000)})
except UserError as error:
    print(error)
"""


def test_a_checkpoint_on_a_full_disk_leaves_the_old_one(tmp_path: Path):
    """torch raises a RuntimeError of its own when it cannot write to a file."""
    path = tmp_path / "last.pt"
    checkpoints.save(path, {"network": torch.nn.Linear(2, 2)})
    whole = path.read_bytes()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    run = [sys.executable, "-c", FULL, str(path)]
    printed = subprocess.run(run, capture_output=True, text=True, check=True, env=environment).stdout
    assert printed.startswith(f"{path} cannot be written: File too large; it needs about 4.0 MB, ")
    assert path.read_bytes() == whole
    assert names(tmp_path) == {"last.pt"}


def test_wrong_bytes_in_a_checkpoint_are_refused_or_change_nothing(tmp_path: Path):
    path = tmp_path / "last.pt"
    torch.manual_seed(0)
    checkpoints.save(path, {"network": torch.nn.Linear(30, 30)}, config={"a": 1})
    expected = checkpoints.load(path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        data = max(archive.infolist(), key=lambda entry: entry.file_size)
    rng, refused = random.Random(0), 0
    positions = [data.header_offset + 200 + i for i in range(0, data.file_size, 500)]
    for position in positions + [rng.randrange(len(whole)) for _ in range(150)]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = checkpoints.load(path)
        except UserError:
            refused += 1
            continue
        assert position not in positions, "a flipped bit in a tensor was loaded"
        assert found["config"] == expected["config"]
        for name, tensor in expected["parts"]["network"].items():
            assert torch.equal(found["parts"]["network"][name], tensor)
    assert refused > len(positions)


def test_a_truncated_checkpoint_and_other_files_are_refused(tmp_path: Path):
    path = tmp_path / "last.pt"
    checkpoints.save(path, {"network": torch.nn.Linear(30, 30)})
    whole = path.read_bytes()
    for data in (whole[:-100], whole[:1000], b"", b"no zip at all"):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"last\.pt cannot be read as a checkpoint"):
            checkpoints.load(path)


def test_file_errors_are_one_line_with_path_and_remedy(tmp_path: Path):
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "none").open()
    message = (
        f"{tmp_path}/none: No such file or directory; check the path, its permissions and the free space on its disk"
    )
    assert format_error(caught.value) == message
    assert format_error(OSError("remote")) == "remote"
    assert format_error(UserError("a\nname \x1b[31m")) == r"a\nname \x1b[31m"
    assert format_error(FileNotFoundError(2, "gone", "a\nb")).startswith(r"a\nb: gone; ")
    assert format_error(UserError("a sentence")) == "a sentence"


def test_train_py_and_commands_say_where_they_cannot_write(go, shards: Path, tmp_path: Path, capsys, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    result = go("--out", str(tmp_path / "file"))
    assert result.exit_code == 2
    assert result.output.startswith(f"error: {tmp_path}/file/")
    assert result.output.count("\n") == 1
    monkeypatch.setattr("sys.argv", ["gtzan-stream", "preview", str(shards), "--out", str(tmp_path / "file/a.png")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"gtzan-stream: {tmp_path}/file/a.png cannot be written: ")
