"""Find the audio files of a folder."""

import os
from pathlib import Path

from gtzan_stream import audio
from gtzan_stream.errors import UserError
from gtzan_stream.store.issues import Issue
from gtzan_stream.store.keys import printable
from gtzan_stream.words import count


def scan(src: str | Path) -> tuple[list[str], list[Issue], int]:
    """List the audio files under `src`, and report what cannot be read, and links that lead nowhere.

    macOS's ``._*`` and whatever is not audio by its suffix are passed over; other audio whose name, or whose folder's,
    begins with a dot is left out and reported. Links are followed. A folder that can be reached in several ways, by a
    loop of links for example, is read once: where it lies, if that is under `src`, else at the first of its links.

    Returns
    -------
    paths : list of str
        Relative to `src`, with ``/`` between folders, sorted.
    report : list of Issue
    n_hidden : int
        Audio files that were left out for the dot that their name begins with, or their folder's.

    Raises
    ------
    UserError
        If there is no such folder, or no audio in it.
    """
    root = Path(src)
    if not root.is_dir():
        raise UserError(f"{src} is not a folder: give the folder that holds <label>/<clip>.<ext>")
    walk = _Walk(root)
    if not walk.paths:
        raise UserError(f"{src} holds no audio file: expected <label>/<clip>.<ext>, such as blues/blues.00000.wav")
    return sorted(walk.paths), walk.report, walk.n_hidden


class _Walk:
    """Reads all folders first, then those that links lead to, so that a folder is found where it lies."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths: list[str] = []
        self.report: list[Issue] = []
        self.n_hidden = 0
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
                path = f"{folder}/{entry.name}".lstrip("/")
                if not entry.name.startswith((".", "__MACOSX")):
                    self._take(entry, path, waiting)
                elif not entry.name.startswith(("._", "__MACOSX")):
                    self._pass_over(entry, path)

    def _take(self, entry: os.DirEntry[str], path: str, waiting: list[str]) -> None:
        if entry.is_symlink() and not os.path.exists(entry.path):
            self._add("link", path, f"leads to {printable(os.readlink(entry.path))}, which does not exist")
        elif entry.is_dir():
            (self._links if entry.is_symlink() else waiting).append(path)
        elif not _is_audio(entry.name):
            return
        elif entry.is_file():
            self.paths.append(path)
        else:
            self._add("unreadable", path, "it is not a file but a device, a pipe or a socket")

    def _pass_over(self, entry: os.DirEntry[str], path: str) -> None:
        """Count the audio in a hidden file or folder."""
        names = [entry.name]
        if entry.is_dir(follow_symlinks=False):
            names = [name for _, _, names in os.walk(entry.path) for name in names if not name.startswith("._")]
        if number := sum(map(_is_audio, names)):
            self.n_hidden += number
            detail = f"{count(number, 'audio file')} left out: the name begins with a dot, as those of hidden files do"
            self._add("hidden", path, detail)

    def _add(self, kind: str, path: str, detail: str) -> None:
        self.report.append(Issue(kind, "", printable(path), detail))


def _is_audio(name: str) -> bool:
    return Path(name).suffix.lower() in audio.SUFFIXES
