"""Unpack an untrusted tar archive without writing outside the given folder."""

import lzma
import os
import tarfile
import zlib
from collections.abc import Callable
from hashlib import md5
from pathlib import Path, PurePosixPath

from gtzan_stream.errors import UserError, first_line, writing
from gtzan_stream.folders import scratch

BLOCK = 1 << 20


def unpack(
    archive: Path, folder: Path, *, progress: Callable[[int, int | None], None] | None = None
) -> dict[PurePosixPath, str]:
    """Unpack the regular files of an archive into `folder`: either all of them or none.

    Files that macOS and mtree add (`._*`, `.DS_Store`, `*.mf`) are left out. A new folder appears in one step; in a
    folder that exists, files of the same name are replaced one by one.

    Parameters
    ----------
    archive : Path
        A tar file, plain or compressed by gzip, bzip2 or xz.
    folder : Path
        An existing folder. Files are first written to a hidden folder in it, which is removed at the end, or by the
        next call if this one is killed.
    progress : callable, optional
        Called with the bytes of the archive that were read, and its size.

    Returns
    -------
    dict from the path of each file, relative to `folder`, to its MD5 in hexadecimal

    Raises
    ------
    UserError
        If the archive is not a tar file or is cut, or if a member is unsafe: a link, a device, or a path that is
        absolute or contains `..`.
    WriteError
        If the folder cannot be written.
    """
    n_bytes = archive.stat().st_size  # an estimate: sound hardly compresses
    try:
        with writing(folder, n_bytes, reads_too=True), scratch(folder, ".unpacking-", n_bytes) as staging:
            digests = _unpack_into(staging, archive, progress or (lambda done, total: None))
            with writing(folder, n_bytes):
                for path in sorted(staging.iterdir()):
                    _move(path, folder / path.name)
        return digests
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        reason = first_line(error).rstrip(":")  # tarfile appends all formats that it tried
        raise UserError(f"{archive}: cannot be unpacked into {folder}: {reason}") from error


def _move(path: Path, target: Path) -> None:
    """Move a file or folder. If the folder exists, its files are moved into it one by one."""
    if path.is_dir() and target.is_dir():
        for child in sorted(path.iterdir()):
            _move(child, target / child.name)
    else:
        os.replace(path, target)


def _unpack_into(staging: Path, archive: Path, progress: Callable[[int, int | None], None]) -> dict[PurePosixPath, str]:
    digests = {}
    size = archive.stat().st_size
    with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r:*") as members:
        for member in members:
            name = _safe_name(member, archive)
            if member.isreg() and not _is_litter(name.name):
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                digests[name] = _write(members, member, staging / name)
            progress(file.tell(), size)
    if not digests:
        raise UserError(f"{archive}: holds no files")
    return digests


def _safe_name(member: tarfile.TarInfo, archive: Path) -> PurePosixPath:
    """Return the path of a member; raise UserError if it could lead out of the folder, on Windows too.

    Stricter than tarfile's data filter, which Python 3.11.0 to 3.11.3 lack, and which changes absolute paths.
    """
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name:
        raise UserError(f"{archive}: unsafe: member {member.name!r} is not a path below the archive's folder")
    if not (member.isreg() or member.isdir()):
        raise UserError(f"{archive}: unsafe: member {member.name!r} is a link or device, not a file or folder")
    return name


def _is_litter(name: str) -> bool:
    """Return whether macOS or mtree added a file of this name."""
    return name.startswith("._") or name == ".DS_Store" or name.endswith(".mf")


def _write(members: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> str:
    source = members.extractfile(member)
    if source is None:
        raise tarfile.ReadError(f"member {member.name!r} has no data")
    digest = md5(usedforsecurity=False)
    with source, path.open("wb") as file:
        while block := source.read(BLOCK):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()
