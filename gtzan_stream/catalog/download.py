"""Download one file over http, https or file to its place, and continue a download that an earlier call began."""

from pathlib import Path
from urllib.parse import urlsplit

from gtzan_stream.atomic import put_in_place
from gtzan_stream.download.attempts import OnProgress
from gtzan_stream.download.attempts import download as download_part
from gtzan_stream.errors import UserError


def download(url: str, target: Path, *, progress: OnProgress | None = None) -> None:
    """Download `url` to `target`, which only exists once it is complete.

    Until then the bytes are in `<target>.part`. A broken download continues from there, in this call and in later ones.

    Parameters
    ----------
    url : str
        http://, https:// or file://.
    target : Path
        File to write, in an existing folder.
    progress : callable, optional
        Called with the bytes downloaded and the total, or None if the server does not say.

    Raises
    ------
    UserError
        If the address has another scheme.
    DownloadError
        If the server refuses it, or too many attempts in a row bring no new bytes. `<target>.part` is kept.
    WriteError
        If the file cannot be written.
    """
    if urlsplit(url).scheme not in ("http", "https", "file"):
        raise UserError(f"expected an address that starts with http://, https:// or file://; got {url!r}")
    part = target.with_name(target.name + ".part")
    download_part(url, part, on_progress=progress)
    put_in_place(part, target)
