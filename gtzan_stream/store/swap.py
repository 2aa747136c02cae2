"""Replace a set of shards as one step: whenever it is interrupted, either the old set or the new one is whole.

A new set is written into a hidden folder inside the destination (so that the two share a file system even where the
destination is a mount), which is renamed to ``.incoming`` once it is complete. From then on the new set counts: readers
look there first, its files are moved out one by one, and manifest.json last. Whoever packs next finishes a move that
was interrupted and removes what an interrupted pack left.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gtzan_stream.errors import UserError, writing
from gtzan_stream.folders import created, fsync, locked, scratch
from gtzan_stream.store.manifest_json import check_metadata, parse
from gtzan_stream.store.tables import MANIFEST

INCOMING = ".incoming"
_STAGING = ".packing-"


@contextmanager
def locked_for_packing(dst: Path) -> Iterator[None]:
    """Keep other processes from packing into `dst`, which is made, and finish what an interrupted one has begun.

    Raises
    ------
    UserError
        If somebody else is packing into it, its name is not UTF-8, or it cannot be written.
    """
    try:
        os.fspath(dst).encode()
    except UnicodeEncodeError:
        name = os.fsencode(dst).decode(errors="replace")
        raise UserError(f"{name}: the folder's name is not UTF-8, which its tables need: choose another") from None
    with created(dst), ExitStack() as stack:
        try:
            stack.enter_context(locked(dst))
        except BlockingIOError:
            raise UserError(
                f"another gtzan-stream is packing into {dst}: wait for it to end, then pack again"
            ) from None
        with writing(dst):
            finish(dst)
        yield


@contextmanager
def replacing(dst: Path, n_bytes: int | None = None) -> Iterator[Path]:
    """Give a folder to write a new set into, and put it in the place of the old set when the block ends well.

    Parameters
    ----------
    dst : Path
        `locked_for_packing`.
    n_bytes : int, optional
        About how much will be written, for the message if there is no room for it.

    Raises
    ------
    UserError
        If something cannot be written, or `dst` holds a file that the new set would overwrite and no set owns.
    """
    with writing(dst, n_bytes):
        with scratch(dst, _STAGING, n_bytes) as staging:
            yield staging
            _refuse_to_overwrite(dst, staging)
            for path in (*sorted(staging.iterdir()), staging):
                fsync(path)
            staging.chmod(0o755)
            staging.rename(dst / INCOMING)
        finish(dst)


def finish(dst: Path) -> None:
    """Move a complete new set from ``.incoming`` to its place, if there is one; else remove what lies there."""
    incoming = dst / INCOMING
    if not _manifest(incoming):  # before anything of the old set is removed
        shutil.rmtree(incoming, ignore_errors=True)
        return
    fsync(dst)  # the new set counts from now on, after a power cut too, so that the old one may go
    for name in _packed(dst) - _listed(incoming):
        (dst / name).unlink(missing_ok=True)
    for path in sorted(incoming.iterdir()):
        if path.name != MANIFEST:
            os.replace(path, dst / path.name)
    fsync(dst)  # likewise before the manifest, without which what is left in `incoming` is removed
    os.replace(incoming / MANIFEST, dst / MANIFEST)
    incoming.rmdir()


def _manifest(folder: Path) -> dict[str, Any]:
    """Metadata of a folder's manifest; none if it is missing or not that of a set.

    A disk's error is raised: a whole new set must not be removed for it.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        metadata = parse(path.read_bytes())
        check_metadata(metadata)
    except ValueError:
        return {}
    return metadata


def _listed(folder: Path) -> set[str]:
    """Names of the shards in a folder's manifest."""
    return {shard["name"] for shard in _manifest(folder).get("shards", [])}


def _packed(folder: Path) -> set[str]:
    """Names of the shards in `folder` that `pack` wrote; never those that were only indexed."""
    return _listed(folder) if _manifest(folder).get("origin") == "pack" else set()


def _refuse_to_overwrite(dst: Path, staging: Path) -> None:
    for name in sorted({path.name for path in staging.glob("*.tar")} - _packed(dst)):
        if (dst / name).exists():
            raise UserError(f"{dst / name} exists and was not packed here: move it away, then pack again")
