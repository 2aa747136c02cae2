"""Choose the level of folders that holds the labels, and the level that is a split, from the paths of the clips."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gtzan_stream.catalog.splits import PART_OF
from gtzan_stream.checks import checked_int
from gtzan_stream.errors import UserError


@dataclass(frozen=True)
class FolderLevels:
    """What the levels of folders mean; level 1 is the first below the source folder.

    `label_level` is None where each clip's own folder is its label. `split_levels` hold train, valid and test folders
    alone; the first of them says a clip's part.
    """

    label_level: int | None
    split_levels: tuple[int, ...]

    def label(self, path: str, root: str) -> tuple[str | None, int]:
        """Label of a clip, and how many folders lead to the label's, that one included.

        `root` is the name of the source folder, the label of clips in it if each clip's own folder is its label. The
        label is None for a clip that lies above the labels' level.
        """
        folders = _folders(path)
        if self.label_level is not None:
            found = len(folders) >= self.label_level
            return (folders[self.label_level - 1], self.label_level) if found else (None, 0)
        depth = max((level for level in range(1, len(folders) + 1) if level not in self.split_levels), default=0)
        return (folders[depth - 1] if depth else root), depth

    def part(self, path: str) -> str | None:
        """Part of the split that a clip's folder says, or None."""
        folders = _folders(path)
        if not self.split_levels or len(folders) < self.split_levels[0]:
            return None
        return PART_OF[folders[self.split_levels[0] - 1].lower()]


def folder_levels(paths: Sequence[str], label_depth: int | None = None) -> FolderLevels:
    """Find the levels of labels and splits in the paths of clips below the source folder.

    The labels' level is the first that has more than one folder. A level whose folders are all named train, valid,
    validation, val, dev or test, two parts at least, is a split and not labels.

    Parameters
    ----------
    paths : list of str
        Of audio files, with ``/`` between folders.
    label_depth : int, optional
        The labels' level; level 1 is the first below the source folder, and every level counts.

    Raises
    ------
    UserError
        If no clip is as deep as `label_depth`.

    >>> folder_levels(["Data/train/rock/1.wav", "Data/test/rock/1.wav", "Data/test/jazz/2.wav"])
    FolderLevels(label_level=3, split_levels=(2,))
    """
    all_folders = [_folders(path) for path in paths]
    depth = max(map(len, all_folders), default=0)
    if label_depth is not None and not 1 <= checked_int("label_depth", label_depth) <= depth:
        raise UserError(
            f"--label-depth is 1 for the first level of folders below SRC, and at most {depth} here; got {label_depth}"
            if depth
            else f"--label-depth {label_depth}: there are no folders below SRC"
        )
    levels = [level for level in range(1, depth + 1) if level != label_depth]
    splits = tuple(level for level in levels if _is_split(folders[level - 1] for folders in _deep(all_folders, level)))
    if label_depth is not None:
        return FolderLevels(label_depth, splits)
    others = [level for level in levels if level not in splits]
    for level in others:
        above = [other for other in others if other <= level]
        if len({tuple(folders[other - 1] for other in above) for folders in _deep(all_folders, level)}) > 1:
            return FolderLevels(level, splits)
    return FolderLevels(None, splits)


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """Each label once, in the order of their numbers if they are all numbers.

    >>> sorted_labels(["10", "9", "10"])
    ['9', '10']
    """
    unique = set(labels)
    return (
        sorted(unique, key=lambda label: (int(label), label))
        if all(label.isdecimal() for label in unique)
        else sorted(unique)
    )


def _folders(path: str) -> list[str]:
    return path.split("/")[:-1]


def _deep(all_folders: Sequence[list[str]], level: int) -> list[list[str]]:
    return [folders for folders in all_folders if len(folders) >= level]


def _is_split(names: Iterable[str]) -> bool:
    parts = {PART_OF.get(name) for name in {name.lower() for name in names}}
    return None not in parts and len(parts) > 1
