"""Packing into a folder with a damaged manifest: the manifest is replaced, and no shard is removed."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.swap import INCOMING
from gtzan_stream.store.verify import verify

SHA = "0" * 64
BAD_SHARDS: list[Any] = [
    5,
    None,
    [{}],
    [5],
    [{"name": 5}],
    *([{"name": name, "size": 1, "sha256": SHA}] for name in ("", ".", "..", "../x.tar", "a/b", "nul\0", "\ud800")),
    [{"name": "x" * 256, "size": 1, "sha256": SHA}],
    [{"name": "x.tar", "size": -1, "sha256": SHA}],
    [{"name": "x.tar", "size": 2**70, "sha256": SHA}],
    *([{"name": "x.tar", "size": 1, "sha256": sha}] for sha in ("../" * 5 + "/", SHA[1:])),
]
TEXTS = ["", "[]", "null", '"x"', "5", "{}", "[" * 100_000, '{"a":' * 100_000, "\x00", '{"origin": "pack"}', "folder"]


def contents(whole: dict[str, Any]) -> list[str]:
    """Contents that are not a manifest: arbitrary texts, and manifests with wrong shards."""
    return [*TEXTS, *(json.dumps(whole | {"shards": shards}) for shards in BAD_SHARDS)]


CASES = range(len(TEXTS) + len(BAD_SHARDS))


def put(text: str, path: Path) -> None:
    """Write `text` to `path`; for "folder", replace the file by a folder."""
    path.unlink(missing_ok=True)
    if text == "folder":
        path.mkdir()
    else:
        path.write_bytes(text.encode())


@pytest.fixture(scope="module")
def other(clips_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(pack(clips_folder, tmp_path_factory.mktemp("packed") / "other", name="other").root)


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_manifest_is_replaced_and_no_shard_is_removed(case: int, copy: Path, clips_folder: Path):
    put(contents(json.loads((copy / "manifest.json").read_text()))[case], copy / "manifest.json")
    before = {path.name: path.read_bytes() for path in copy.glob("*.tar")}
    with pytest.raises(UserError):
        Manifest.open(copy)
    if (copy / "manifest.json").is_dir():
        with pytest.raises(UserError, match=r"cannot be written: Is a directory; choose another folder"):
            pack(clips_folder, copy, name="other")
    else:
        pack(clips_folder, copy, name="other")
        assert verify(Manifest.open(copy)) == []
    after = {path.name: path.read_bytes() for path in copy.glob("*.tar")}
    assert before.items() <= after.items()


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_new_set_is_removed_and_the_old_one_stays(case: int, copy: Path, other: Path, tmp_path: Path):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    shutil.copytree(other, copy / INCOMING)
    text = contents(json.loads((copy / "manifest.json").read_text()))[case]
    put(text, copy / INCOMING / "manifest.json")
    (tmp_path / "bad/rock").mkdir(parents=True)
    (tmp_path / "bad/rock/a.wav").write_text("no audio")
    with pytest.raises(UserError, match=r"none of the 1 files in .*bad could be packed"):
        pack(tmp_path / "bad", copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_a_disk_error_does_not_remove_a_new_set(
    copy: Path, other: Path, clips_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(other, copy / INCOMING)
    before = {path: path.read_bytes() for path in copy.rglob("*.*") if path.is_file()}

    def fail(path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        with pytest.raises(UserError, match="Input/output error"):
            pack(clips_folder, copy)
    assert {path: path.read_bytes() for path in copy.rglob("*.*") if path.is_file()} == before
