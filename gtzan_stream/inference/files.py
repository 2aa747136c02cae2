"""Find the audio files to classify, and name their pictures."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from gtzan_stream.audio import SUFFIXES
from gtzan_stream.store.find_audio import AudioWalk


@dataclass
class Found:
    """Audio files to classify.

    Attributes
    ----------
    files : list of Path
        In the order of the arguments; those of a folder and the folders below it are sorted.
    names : list of str
        A name for each file: its path below its folder, with the folder's own name before it if there is more than one
        argument; else its file name.
    problems : list of str
        A sentence for each folder without audio, and for what cannot be read in the folders.
    n_skipped : int
        Number of files in the folders that are not audio, or hidden.
    """

    files: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    n_skipped: int = 0


def find_files(paths: Sequence[Path]) -> Found:
    """Replace each folder by the audio files in it and below it; other paths stay as they are, even if missing."""
    found = Found()
    for path in paths:
        if path.is_dir():
            below = _add_folder(found, path)
            prefix = f"{path.resolve().name}/" if len(paths) > 1 else ""
            found.names += [prefix + name for name in below]
            found.files += [path / name for name in below]
        else:
            found.names.append(path.name)
            found.files.append(path)
    return found


def _add_folder(found: Found, folder: Path) -> list[str]:
    """List the audio files below a folder, and add what else is in it to `found`."""
    walk = AudioWalk(folder)
    found.n_skipped += walk.n_hidden + walk.n_others
    for issue in walk.report:
        is_dead_link = issue.kind == "link" and PurePath(issue.source).suffix.lower() in SUFFIXES
        if issue.kind == "unreadable" or is_dead_link:
            found.problems.append(f"{folder / issue.source}: {issue.detail}")
    if not walk.paths and not any(issue.kind == "unreadable" for issue in walk.report):
        found.problems.append(f"{folder}: there is no audio file in this folder or below it")
    return sorted(walk.paths)


def picture_names(names: Iterable[str]) -> Iterator[str]:
    """Yield a path of a PNG for each name of an audio file, with a number appended where it would not be new.

    >>> list(picture_names(["a/x.wav", "a/x.mp3", "x.wav", "X.mp3"]))  # x.png and X.png may be one file
    ['a/x.png', 'a/x-2.png', 'x.png', 'X-2.png']
    """
    used = set[str]()
    for name in names:
        stem = PurePath(name).with_suffix("")
        number, picture = 1, f"{stem}.png"
        while picture.casefold() in used:
            number += 1
            picture = f"{stem}-{number}.png"
        used.add(picture.casefold())
        yield picture
