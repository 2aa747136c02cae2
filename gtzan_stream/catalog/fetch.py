"""Fetch GTZAN: download the archive, unpack it, and compare every clip with the md5 of the original."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest, md5
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from gtzan_stream.catalog.download import download
from gtzan_stream.catalog.faults import CHECKSUMS
from gtzan_stream.catalog.genres import key_of
from gtzan_stream.catalog.unpack import unpack
from gtzan_stream.errors import Unwritable, UserError
from gtzan_stream.folders import created

URL = "https://huggingface.co/datasets/marsyas/gtzan/resolve/main/data/genres.tar.gz"
ARCHIVE_MD5 = "5b3d6dddb579ab49814ab86dba69e7c7"

Progress = Callable[[str, int, int | None], None]
"""Told the stage ("download" or "unpack"), the bytes done and the bytes in all, None while unknown."""


@dataclass(frozen=True, kw_only=True)
class FetchReport:
    """How what was fetched differs from the original GTZAN; keys are in order."""

    archive: Path
    folder: Path
    identical: int
    missing: tuple[str, ...]
    different: tuple[str, ...]
    extra: tuple[str, ...]
    warning: str | None

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.identical} of {len(CHECKSUMS)} clips are identical to the original GTZAN"]
        for word in ("missing", "different", "extra"):
            if names := getattr(self, word):
                lines.append(f"{len(names)} {word}: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}")
        return "\n".join(lines + [f"warning: {self.warning}"] * (self.warning is not None))


def fetch(folder: str | Path, url: str = URL, *, progress: Progress | None = None) -> FetchReport:
    """Download GTZAN into a folder, unpack it there, and report what differs from the original clips.

    An archive that is there already, by an earlier call or by hand, is not downloaded again. A difference, of the
    archive or of a clip, is reported and stops nothing.

    Parameters
    ----------
    folder : path
        Made if absent. The archive stays in it, the clips come beside it.
    url : str
        A tar archive at an http://, https:// or file:// address.
    progress : Progress, optional
        Called after every block of bytes.

    Returns
    -------
    FetchReport

    Raises
    ------
    UserError
        If the archive cannot be downloaded, read, or is unsafe to unpack: the sentence says what to download by hand
        and where to put it. Unwritable, if the folder cannot be written.
    """
    folder = Path(folder)
    try:
        path = urlsplit(url).path
    except ValueError as error:
        raise UserError(f"{url} is not an address: {error}") from None
    archive = folder / (PurePosixPath(unquote(path)).name or "genres.tar.gz")
    tell = progress or (lambda stage, done, total: None)
    try:
        with created(folder):
            if not archive.exists():
                download(url, archive, progress=partial(tell, "download"))
            digests = unpack(archive, folder, progress=partial(tell, "unpack"))
            warning = _warning(archive)
    except Unwritable:
        raise
    except (UserError, OSError) as error:
        raise UserError(f"{error}: {_remedy(url, archive)}") from error
    return FetchReport(archive=archive, folder=folder, warning=warning, **compare(digests))


def compare(digests: Mapping[PurePosixPath, str]) -> dict:
    """Compare files, by path, with the original clips: fields of a `FetchReport`.

    >>> differences = compare({PurePosixPath("genres/blues/blues.00000.wav"): "b462fa6a82a35d00940fe251f11447e5"})
    >>> differences["identical"], len(differences["missing"])
    (1, 999)
    """
    found = {key_of(path.stem): digest for path, digest in digests.items()}
    known = found.keys() & CHECKSUMS.keys()
    different = {key for key in known if found[key] != CHECKSUMS[key]}
    return {
        "identical": len(known) - len(different),
        "missing": tuple(sorted(CHECKSUMS.keys() - found.keys())),
        "different": tuple(sorted(different)),
        "extra": tuple(sorted(found.keys() - CHECKSUMS.keys())),
    }


def _warning(archive: Path) -> str | None:
    with archive.open("rb") as file:
        digest = file_digest(file, lambda: md5(usedforsecurity=False)).hexdigest()
    if digest == ARCHIVE_MD5:
        return None
    return f"{archive} has md5 {digest}, the original archive {ARCHIVE_MD5}"


def _remedy(url: str, archive: Path) -> str:
    if archive.exists():
        return f"delete {archive} and fetch again, or download {url} by hand and put it there"
    return f"fetch again to go on from where it broke, or download {url} by hand and put it at {archive}"
