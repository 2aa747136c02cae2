"""Replace a set of shards as one step: whenever it is interrupted, either the old set or the new one is whole.

A new set is written into a hidden folder inside the destination (so that the two share a file system even where the
destination is a mount), which is renamed to ``.incoming`` once it is complete. From then on the new set counts: readers
look there first, its files are moved out one by one, and manifest.json last. Whoever packs next finishes a move that
was interrupted and removes what an interrupted pack left.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gtzan_stream.errors import UserError
from gtzan_stream.store.tables import MANIFEST

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

INCOMING = ".incoming"
_STAGING = ".packing-"


@contextmanager
def replacing(dst: Path) -> Iterator[Path]:
    """Give a folder to write a new set into, and put it in the place of the old set when the block ends well.

    Raises
    ------
    UserError
        If somebody else is packing into `dst`, its name is not UTF-8, or it holds a file that the new set would
        overwrite and no set owns.
    """
    try:
        os.fspath(dst).encode()
    except UnicodeEncodeError:
        name = os.fsencode(dst).decode(errors="replace")
        raise UserError(f"{name}: the folder's name is not UTF-8, which its tables need: choose another") from None
    dst.mkdir(parents=True, exist_ok=True)
    with _locked(dst):
        finish(dst)
        for leftover in dst.glob(f"{_STAGING}*"):
            shutil.rmtree(leftover)
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=dst))
        try:
            yield staging
            _refuse_to_overwrite(dst, staging)
            _to_disk(staging)
            staging.chmod(0o755)
            staging.rename(dst / INCOMING)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        finish(dst)


def finish(dst: Path) -> None:
    """Move a complete new set from ``.incoming`` to its place, if there is one."""
    incoming = dst / INCOMING
    if not (incoming / MANIFEST).exists():
        shutil.rmtree(incoming, ignore_errors=True)
        return
    for name in _packed(dst) - _listed(incoming):
        (dst / name).unlink(missing_ok=True)
    for path in sorted(incoming.iterdir(), key=lambda path: (path.name == MANIFEST, path.name)):
        os.replace(path, dst / path.name)
    incoming.rmdir()


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _listed(folder: Path) -> set[str]:
    """Names of the shards in a folder's manifest."""
    return {Path(shard["name"]).name for shard in _manifest(folder).get("shards", [])}


def _packed(folder: Path) -> set[str]:
    """Names of the shards in `folder` that `pack` wrote; never those that were only indexed."""
    return _listed(folder) if _manifest(folder).get("origin") == "pack" else set()


def _refuse_to_overwrite(dst: Path, staging: Path) -> None:
    for name in sorted({path.name for path in staging.glob("*.tar")} - _packed(dst)):
        if (dst / name).exists():
            raise UserError(f"{dst / name} exists and was not packed here: move it away, then pack again")


def _to_disk(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("r+b") as file:  # Windows does not write out what is open for reading
            os.fsync(file.fileno())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    if fcntl is None:  # without a lock, packing works as long as one program at a time packs into a folder
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another gtzan-stream is packing into {folder}: wait for it to end, then pack again") from None
    else:
        yield
    finally:
        os.close(descriptor)
