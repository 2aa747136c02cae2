"""Fetch GTZAN: download the archive, unpack it, and compare every clip with the original's MD5 checksum."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import file_digest, md5
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from gtzan_stream.catalog.download import download
from gtzan_stream.catalog.faults import CHECKSUMS
from gtzan_stream.catalog.genres import key_of
from gtzan_stream.catalog.unpack import unpack
from gtzan_stream.errors import UserError, WriteError
from gtzan_stream.folders import created

URL = "https://huggingface.co/datasets/marsyas/gtzan/resolve/main/data/genres.tar.gz"
ARCHIVE_MD5 = "5b3d6dddb579ab49814ab86dba69e7c7"

OnProgress = Callable[[str, int, int | None], None]
"""Called with the stage ("download", "unpack" or "compare"), the bytes done, and the total or None if it is unknown."""


@dataclass(frozen=True, kw_only=True)
class FetchReport:
    """Differences between the fetched clips and the original GTZAN; keys are sorted."""

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

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dict that JSON can hold."""
        return {**asdict(self), "archive": str(self.archive), "folder": str(self.folder)}


def fetch(folder: str | Path, url: str = URL, *, progress: OnProgress | None = None) -> FetchReport:
    """Download GTZAN into a folder, unpack it there, and report what differs from the original clips.

    An archive that is already in the folder is not downloaded again. It is not an error if the archive or clips differ
    from the original; the report says so.

    Parameters
    ----------
    folder : path
        Created if missing. The archive stays in it, and the clips are unpacked beside it.
    url : str
        Address of a tar archive: http://, https:// or file://.
    progress : OnProgress, optional
        Called when a stage begins, and after every block of bytes.

    Returns
    -------
    FetchReport

    Raises
    ------
    UserError
        If the archive cannot be downloaded or read, or is unsafe to unpack. The message says what to download by hand
        and where to put it.
    WriteError
        If the folder cannot be written.
    """
    folder = Path(folder)
    archive = archive_path(folder, url)
    on_progress = progress or (lambda stage, done, total: None)
    try:
        with created(folder):
            if not archive.exists():
                on_progress("download", 0, None)
                download(url, archive, progress=partial(on_progress, "download"))
            digests = unpack(archive, folder, progress=partial(on_progress, "unpack"))
            on_progress("compare", 0, None)
            warning = _warning(archive)
    except WriteError:
        raise
    except (UserError, OSError) as error:
        raise UserError(f"{error}: {_remedy(url, archive)}") from error
    return FetchReport(archive=archive, folder=folder, warning=warning, **compare(digests))


def archive_path(folder: Path, url: str) -> Path:
    """Return where `fetch` keeps the archive at `url`. Raises UserError if it is not an address."""
    try:
        path = urlsplit(url).path
    except ValueError as error:
        raise UserError(f"{url} is not an address: {error}") from None
    return folder / (PurePosixPath(unquote(path)).name or "genres.tar.gz")


def compare(digests: Mapping[PurePosixPath, str]) -> dict:
    """Compare the MD5 checksums of files, by path, with the original clips. Returns fields of a `FetchReport`.

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
    return f"fetch again to continue the download, or download {url} by hand and put it at {archive}"
