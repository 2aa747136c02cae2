"""A tar archive from strangers, unpacked so that it cannot write outside its folder."""

import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from hashlib import md5
from pathlib import Path, PurePosixPath

from gtzan_stream.errors import UserError

BLOCK = 1 << 20


def unpack(
    archive: Path, folder: Path, *, progress: Callable[[int, int | None], None] | None = None
) -> dict[PurePosixPath, str]:
    """Unpack the regular files of an archive into `folder`: all of them, or none.

    Names of macOS and mtree (`._*`, `.DS_Store`, `*.mf`) are left out. Files of the same name are replaced.

    Parameters
    ----------
    archive : Path
        A tar file, plain or compressed by gzip, bzip2 or xz.
    folder : Path
        Exists. Files go through a hidden folder in it, which is gone when the call ends.
    progress : callable, optional
        Called with the bytes of the archive read and its size.

    Returns
    -------
    dict from the path of a file, relative to `folder`, to its md5 in hexadecimal

    Raises
    ------
    UserError
        If the archive is no tar file or ends early, or if a member is not a file or folder below `folder`: a name
        that is absolute or holds `..`, a link, a device.
    """
    staging = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder))
    try:
        digests = _unpack_into(staging, archive, progress or (lambda done, total: None))
        for name in digests:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / name, folder / name)
        return digests
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise UserError(f"{archive}: cannot be unpacked into {folder}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _unpack_into(staging: Path, archive: Path, progress: Callable[[int, int | None], None]) -> dict[PurePosixPath, str]:
    digests = {}
    size = archive.stat().st_size
    with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r:*") as members:
        for member in members:
            name = _safe(member, archive)
            if member.isreg() and not _is_litter(name.name):
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                digests[name] = _write(members, member, staging / name)
            progress(file.tell(), size)
    if not digests:
        raise UserError(f"{archive}: holds no files")
    return digests


def _safe(member: tarfile.TarInfo, archive: Path) -> PurePosixPath:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name:
        raise UserError(f"{archive}: unsafe: member {member.name!r} is not a path below the archive's folder")
    if not (member.isreg() or member.isdir()):
        raise UserError(f"{archive}: unsafe: member {member.name!r} is a link or device, neither file nor folder")
    return name


def _is_litter(name: str) -> bool:
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
