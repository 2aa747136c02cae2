"""Find the audio files of a folder."""

import os
from pathlib import Path

from gtzan_stream import audio
from gtzan_stream.errors import UserError
from gtzan_stream.store.check import Oddity
from gtzan_stream.store.keys import printable


def scan(src: str | Path) -> tuple[list[str], list[Oddity]]:
    """List the audio files under `src`, and report the folders and links in it that lead to none.

    Hidden files, macOS's ``._*`` among them, and whatever is not audio by its suffix are passed over. Links are
    followed. A folder that can be reached in several ways, by a loop of links for example, is read once: where it lies,
    if that is under `src`, else at the first of its links.

    Returns
    -------
    paths : list of str
        Relative to `src`, with ``/`` between folders, sorted.
    report : list of Oddity

    Raises
    ------
    UserError
        If there is no such folder, or no audio in it.
    """
    root = Path(src)
    if not root.is_dir():
        raise UserError(f"{src} is no folder: give the folder that holds <label>/<clip>.<ext>")
    walk = _Walk(root)
    if not walk.paths:
        raise UserError(f"{src} holds no audio file: expected <label>/<clip>.<ext>, such as blues/blues.00000.wav")
    return sorted(walk.paths), walk.report


class _Walk:
    """Reads all folders first, then those that links lead to, so that a folder is found where it lies."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths: list[str] = []
        self.report: list[Oddity] = []
        self._seen: dict[str, str] = {}
        self._links: list[str] = []
        self._read_tree("")
        while self._links:
            links, self._links = sorted(self._links), []
            for link in links:
                self._read_tree(link)

    def _read_tree(self, top: str) -> None:
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            real = os.path.realpath(self.root / folder)
            if real in self._seen:
                self._add("link", folder, f"is the same folder as {printable(self._seen[real]) or 'SRC'}, read already")
                continue
            self._seen[real] = folder
            try:
                entries = sorted(os.scandir(self.root / folder), key=lambda entry: entry.name)
            except OSError as error:
                self._add("unreadable", folder, f"the folder cannot be read: {error.strerror}")
                continue
            for entry in entries:
                if not entry.name.startswith((".", "__MACOSX")):
                    self._take(entry, f"{folder}/{entry.name}".lstrip("/"), waiting)

    def _take(self, entry: os.DirEntry[str], path: str, waiting: list[str]) -> None:
        if entry.is_symlink() and not os.path.exists(entry.path):
            self._add("link", path, f"leads to {printable(os.readlink(entry.path))}, which does not exist")
        elif entry.is_dir():
            (self._links if entry.is_symlink() else waiting).append(path)
        elif Path(entry.name).suffix.lower() in audio.SUFFIXES:
            self.paths.append(path)

    def _add(self, kind: str, path: str, detail: str) -> None:
        self.report.append(Oddity(kind, "", printable(path), detail))
