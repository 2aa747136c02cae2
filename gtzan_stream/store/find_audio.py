"""Find the audio files below a folder."""

import os
from pathlib import Path

from gtzan_stream import audio
from gtzan_stream.errors import UserError
from gtzan_stream.store.issues import Issue
from gtzan_stream.store.keys import printable
from gtzan_stream.words import count


def find_audio_files(src: str | Path) -> tuple[list[str], list[Issue], int]:
    """List the audio files below `src`, and report what cannot be read.

    A file is audio if its suffix says so. macOS's ``._*`` files and ``__MACOSX`` folders are ignored. Other audio files
    that are hidden, because their own name or a folder's begins with a dot, are left out and reported. Symbolic links
    are followed. A folder that can be reached by several paths, for example through a loop of links, is read once: at
    its real path if that is below `src`, else at the first link to it.

    Returns
    -------
    paths : list of str
        Relative to `src`, with ``/`` between folders, sorted.
    report : list of Issue
    n_hidden : int
        Number of hidden audio files that were left out.

    Raises
    ------
    UserError
        If there is no such folder, or no audio in it.
    """
    root = Path(src)
    if not root.is_dir():
        raise UserError(f"{src} is not a folder: give the folder that holds <label>/<clip>.<ext>")
    walk = AudioWalk(root)
    if not walk.paths:
        raise UserError(f"{src} holds no audio file: expected <label>/<clip>.<ext>, such as blues/blues.00000.wav")
    return sorted(walk.paths), walk.report, walk.n_hidden


class AudioWalk:
    """A walk through all folders below `root`, by the rules of `find_audio_files`.

    All ordinary folders are read before any folder behind a link, so that a folder below `root` that links also point
    to gets its real path. Folders behind links may contain more links, which are read in the next round.

    Attributes
    ----------
    paths : list of str
        The audio files, relative to `root`, in no order.
    report : list of Issue
    n_hidden, n_others : int
        Number of audio files that are hidden, and of other files that are not.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths: list[str] = []
        self.report: list[Issue] = []
        self.n_hidden = self.n_others = 0
        self._seen: dict[str, str] = {}  # real path of each folder that was read -> its path below `root`
        self._links: list[str] = []  # links to folders, not followed yet
        self._read_tree("")
        while self._links:
            links, self._links = sorted(self._links), []
            for link in links:
                self._read_tree(link)

    def _read_tree(self, top: str) -> None:
        """Read a folder and the folders below it; keep links to folders in `_links` for the next round."""
        pending = [top]
        while pending:
            folder = pending.pop()
            real = os.path.realpath(self.root / folder)
            if real in self._seen:
                first = printable(self._seen[real]) or "SRC"
                self._add_issue("link", folder, f"is the same folder as {first}, which was read already")
                continue
            self._seen[real] = folder
            try:
                entries = sorted(os.scandir(self.root / folder), key=lambda entry: entry.name)
            except OSError as error:
                self._add_issue("unreadable", folder, f"the folder cannot be read: {error.strerror}")
                continue
            for entry in entries:
                path = f"{folder}/{entry.name}".lstrip("/")
                if not entry.name.startswith((".", "__MACOSX")):
                    self._add_entry(entry, path, pending)
                elif not entry.name.startswith(("._", "__MACOSX")):
                    self._count_hidden(entry, path)

    def _add_entry(self, entry: os.DirEntry[str], path: str, pending: list[str]) -> None:
        """Add a file to `paths`, a folder to `pending`, a link to a folder to `_links`, or an issue to the report."""
        if entry.is_symlink() and not os.path.exists(entry.path):
            self._add_issue("link", path, f"leads to {printable(os.readlink(entry.path))}, which does not exist")
        elif entry.is_dir():
            (self._links if entry.is_symlink() else pending).append(path)
        elif not _is_audio(entry.name):
            self.n_others += 1
        elif entry.is_file():
            self.paths.append(path)
        else:
            self._add_issue("unreadable", path, "it is not a file but a device, a pipe or a socket")

    def _count_hidden(self, entry: os.DirEntry[str], path: str) -> None:
        """Count and report a hidden audio file, or the audio files in a hidden folder."""
        names = [entry.name]
        if entry.is_dir(follow_symlinks=False):
            names = [name for _, _, names in os.walk(entry.path) for name in names if not name.startswith("._")]
        if n_files := sum(map(_is_audio, names)):
            self.n_hidden += n_files
            detail = f"{count(n_files, 'audio file')} left out: the name begins with a dot, which marks hidden files"
            self._add_issue("hidden", path, detail)

    def _add_issue(self, kind: str, path: str, detail: str) -> None:
        self.report.append(Issue(kind, "", printable(path), detail))


def _is_audio(name: str) -> bool:
    return Path(name).suffix.lower() in audio.SUFFIXES
