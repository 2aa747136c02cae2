"""Replace a set of shards in one step: wherever it is interrupted, either the old set or the new one is complete.

A set is many files, and no file system can replace several files at once. It can, however, rename a folder at once.
The new set is written into a hidden folder inside the destination (inside, so that both are on one file system even if
the destination is a mount point). Renaming this folder to ``.incoming`` is the step that replaces the old set: readers
look for each file in ``.incoming`` first (folder.py). Then the files are moved to their final place.

    step                                       if interrupted after it       the next pack or index
    ------------------------------------------ ----------------------------- ----------------------------------------
    1. write new set into .packing-*           old set is read               removes .packing-*
    2. write all its bytes to disk (fsync)     old set is read               removes .packing-*
    3. rename .packing-* to .incoming          new set, from .incoming       continues with step 4
    4. fsync the destination folder            new set, from .incoming       continues with step 4
    5. remove shards of the old set            new set, from .incoming       continues with step 4
    6. move all files but manifest.json        new set, from both folders    continues with step 4
    7. fsync the destination folder            new set, from both folders    continues with step 4
    8. move manifest.json                      new set                       removes the empty .incoming
    9. remove .incoming                        new set

The order protects against power cuts, after which renames and removals may have reached the disk in any order unless
fsync separates them. Without step 4, the old shards could be gone while the rename is not on the disk. Without step 7,
manifest.json could be moved while other files are still in ``.incoming``; and an ``.incoming`` without a valid manifest
is removed, as the remains of an interrupted removal.

Only shards of the old set that `pack` wrote are removed or overwritten, never other files, and never shards that
another program packed and `index` only listed.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gtzan_stream.errors import UserError, writing
from gtzan_stream.folders import created, fsync, locked, scratch
from gtzan_stream.store.manifest_json import check_metadata, parse_manifest
from gtzan_stream.store.tables import MANIFEST

INCOMING = ".incoming"
_STAGING = ".packing-"


@contextmanager
def locked_for_packing(dst: Path) -> Iterator[None]:
    """Create and lock the folder `dst` for one packing process, and finish a swap that was interrupted in it.

    Raises
    ------
    UserError
        If another process is packing into it, its name is not UTF-8, or it cannot be written.
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
            finish_swap(dst)
        yield


@contextmanager
def replace_set(dst: Path, n_bytes: int | None = None) -> Iterator[Path]:
    """Yield a folder to write a new set into, and replace the old set by it if the block ends without an error.

    Parameters
    ----------
    dst : Path
        Folder of the set, which the caller has `locked_for_packing`.
    n_bytes : int, optional
        Approximate size of the new set, for the message if the disk is full.

    Raises
    ------
    UserError
        If something cannot be written, or the new set would overwrite a file that is not part of the old set.
    """
    with writing(dst, n_bytes):
        with scratch(dst, _STAGING, n_bytes) as staging:
            yield staging
            _refuse_to_overwrite(dst, staging)
            for path in (*sorted(staging.iterdir()), staging):
                fsync(path)
            staging.chmod(0o755)  # `mkdtemp` made it private
            staging.rename(dst / INCOMING)
        finish_swap(dst)


def finish_swap(dst: Path) -> None:
    """Do steps 4 to 9 for a complete set in ``.incoming``; remove an incomplete one."""
    incoming = dst / INCOMING
    if not _read_metadata(incoming):
        shutil.rmtree(incoming, ignore_errors=True)
        return
    fsync(dst)
    for name in _packed_shard_names(dst) - _shard_names(incoming):
        (dst / name).unlink(missing_ok=True)
    for path in sorted(incoming.iterdir()):
        if path.name != MANIFEST:
            os.replace(path, dst / path.name)
    fsync(dst)
    os.replace(incoming / MANIFEST, dst / MANIFEST)
    incoming.rmdir()


def _read_metadata(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's manifest; empty if the manifest is missing or invalid.

    Disk errors are raised, since the caller would remove a complete new set if it could not read its manifest.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        metadata = parse_manifest(path.read_bytes())
        check_metadata(metadata)
    except ValueError:
        return {}
    return metadata


def _shard_names(folder: Path) -> set[str]:
    """Return the names of the shards in a folder's manifest."""
    return {shard["name"] for shard in _read_metadata(folder).get("shards", [])}


def _packed_shard_names(folder: Path) -> set[str]:
    """Return the names of the shards in `folder` if `pack` wrote them; none if they were only indexed."""
    return _shard_names(folder) if _read_metadata(folder).get("origin") == "pack" else set()


def _refuse_to_overwrite(dst: Path, staging: Path) -> None:
    """Raise UserError if a shard of the new set has the name of a file that is not part of the old set."""
    for name in sorted({path.name for path in staging.glob("*.tar")} - _packed_shard_names(dst)):
        if (dst / name).exists():
            raise UserError(f"{dst / name} exists and was not packed here: move it away, then pack again")
