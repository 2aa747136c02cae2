"""Wherever a pack is interrupted, the folder holds a complete set: the old one or the new one."""

import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.store.index import index
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.swap import INCOMING
from gtzan_stream.store.verify import verify


class Interrupted(BaseException):
    """Like a KeyboardInterrupt or a power cut."""


@pytest.fixture
def old(shards: Path, tmp_path: Path) -> Path:
    """A set of several shards, in a folder with other files."""
    folder = tmp_path / "shards"
    shutil.copytree(shards, folder)
    (folder / ".gitkeep").touch()
    (folder / "notes.txt").write_text("mine")
    return folder


def verified_digest(folder: Path) -> str:
    """Verify a set, and return its digest."""
    manifest = Manifest.open(folder)
    assert verify(manifest) == []
    return manifest.digest


@contextmanager
def interrupted_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the first `calls` calls that change the folder pass, and raise an error at all later ones."""
    left = calls

    def counting(function):  # type: ignore[no-untyped-def]
        def call(*args, **kwargs):  # type: ignore[no-untyped-def]
            nonlocal left
            if left <= 0:
                raise Interrupted
            left -= 1
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", counting(os.replace))
        for name in ("rename", "unlink", "rmdir"):
            patch.setattr(Path, name, counting(getattr(Path, name)))
        yield


@pytest.mark.parametrize("calls", range(8))
def test_an_interrupted_swap_leaves_a_whole_set(
    calls: int, old: Path, clips_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = verified_digest(old)
    with interrupted_after(calls, monkeypatch), pytest.raises(Interrupted):
        pack(clips_folder, old, codec="flac", shard_mb=1000)
    between = verified_digest(old)
    assert (between == before) == (calls == 0)
    if (old / INCOMING).exists():  # readable for everyone who can read the folder
        assert stat.S_IMODE((old / INCOMING).stat().st_mode) == 0o755
    (tmp_path / "bad/rock").mkdir(parents=True)
    (tmp_path / "bad/rock/a.wav").write_text("no audio")
    with pytest.raises(UserError):  # the next pack tidies up before it fails
        pack(tmp_path / "bad", old)
    assert verified_digest(old) == between
    after = pack(clips_folder, old, codec="flac", shard_mb=1000)
    assert verified_digest(old) == after.digest
    expected = {".gitkeep", "notes.txt", "manifest.json", "samples.parquet", "splits.parquet"}
    assert {path.name for path in old.iterdir()} == expected | {shard.name for shard in after.shards}


def test_every_step_of_the_swap_was_interrupted(old: Path, clips_folder: Path, monkeypatch: pytest.MonkeyPatch):
    with interrupted_after(8, monkeypatch):
        pack(clips_folder, old, codec="flac", shard_mb=1000)


def test_a_swap_that_cannot_be_finished_is_one_user_error(
    old: Path, clips_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    with interrupted_after(1, monkeypatch), pytest.raises(Interrupted):
        pack(clips_folder, old, codec="flac", shard_mb=1000)

    def refuse(*paths: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(UserError, match=f"^{old} cannot be written: Read-only file system; choose another folder$"):
        pack(clips_folder, old)
    verified_digest(old)


def test_the_error_of_a_full_disk_says_how_much_space_is_needed(
    clips_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*args: object, **options: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(UserError, match=r"No space left on device; it needs about \d\.\d MB, "):
        pack(clips_folder, tmp_path / "shards")
    assert list(tmp_path.iterdir()) == []


def test_a_pack_that_fails_changes_nothing(old: Path, tmp_path: Path):
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    (tmp_path / "src/rock").mkdir(parents=True)
    (tmp_path / "src/rock/a.wav").write_text("no audio")
    with pytest.raises(UserError):
        pack(tmp_path / "src", old)
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before


def test_remains_of_a_killed_pack_are_removed(old: Path, clips_folder: Path):
    for name in (".packing-killed", ".incoming"):  # .incoming without a manifest: its removal was interrupted
        (old / name).mkdir()
        (old / name / "clips-000000.tar").write_bytes(b"half a shard")
    verified_digest(old)
    pack(clips_folder, old)
    verified_digest(old)
    assert not {path.name for path in old.iterdir()} & {".packing-killed", ".incoming"}


def test_indexed_shards_are_not_removed_by_pack(shards: Path, clips_folder: Path, tmp_path: Path):
    for shard in shards.glob("*.tar"):
        shutil.copy(shard, tmp_path / f"theirs-{shard.name}")
    theirs = {path.name: path.read_bytes() for path in tmp_path.glob("*.tar")}
    index(tmp_path)
    pack(clips_folder, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("theirs-*")} == theirs
    verified_digest(tmp_path)


def test_a_file_with_the_name_of_a_shard_is_not_overwritten(clips_folder: Path, tmp_path: Path):
    name = pack(clips_folder, tmp_path / "elsewhere").shards[0].name
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} exists and was not packed here: move it away"):
        pack(clips_folder, tmp_path / "here")
    assert [path.read_text() for path in (tmp_path / "here").iterdir()] == ["mine"]


def test_indexing_a_packed_set_keeps_its_shards(old: Path):
    names = {path.name for path in old.glob("*.tar")}
    index(old)
    assert {path.name for path in old.glob("*.tar")} == names
    verified_digest(old)


def test_two_packs_into_one_folder_are_refused(old: Path, clips_folder: Path):
    descriptor = os.open(old, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    for work in (lambda: pack(clips_folder, old), lambda: index(old)):
        with pytest.raises(UserError, match="another gtzan-stream is packing into"):
            work()
    os.close(descriptor)
