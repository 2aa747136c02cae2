"""Choose which level of folders holds the labels, and which levels are a split, from the paths of the clips.

Level 1 is the first level of folders below the source folder. Two rules decide:

1. A level on which every folder is named like a part (train, valid, validation, val, dev, test), with at least two
   different parts, is a split and not labels.
2. Of the remaining levels, the first one with folders of more than one name holds the labels.

    Data/genres_original/blues/1.wav  level 1 has only Data, level 2 only genres_original:
    Data/genres_original/rock/1.wav   the labels are at level 3

    train/rock/Ann/1.wav              level 1 is a split;
    test/jazz/Bob/1.wav               the labels are at level 2

    rock/1.wav                        no level has more than one folder:
    rock/2.wav                        the label is each clip's own folder
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gtzan_stream.catalog.splits import PART_OF
from gtzan_stream.checks import checked_int
from gtzan_stream.errors import UserError


@dataclass(frozen=True)
class FolderLevels:
    """The meaning of each level of folders; level 1 is the first below the source folder.

    Attributes
    ----------
    label_level : int or None
        Level of the labels; None if each clip's own folder is its label.
    split_levels : tuple of int
        Levels that only hold train, valid and test folders. The first of them gives each clip's part.
    """

    label_level: int | None
    split_levels: tuple[int, ...]

    def label(self, path: str, root: str) -> tuple[str | None, int]:
        """Return the label of a clip, and the number of folders down to and including the label's folder.

        The label is None for a clip that is not as deep as the labels' level. `root` is the name of the source folder:
        the label of clips directly in it, if each clip's own folder is its label.
        """
        folders = _folders(path)
        if self.label_level is not None:
            is_deep_enough = len(folders) >= self.label_level
            return (folders[self.label_level - 1], self.label_level) if is_deep_enough else (None, 0)
        depth = max((level for level in range(1, len(folders) + 1) if level not in self.split_levels), default=0)
        return (folders[depth - 1] if depth else root), depth

    def part(self, path: str) -> str | None:
        """Return the part of the split that a clip's folders name, or None."""
        folders = _folders(path)
        if not self.split_levels or len(folders) < self.split_levels[0]:
            return None
        return PART_OF[folders[self.split_levels[0] - 1].lower()]


def folder_levels(paths: Sequence[str], label_depth: int | None = None) -> FolderLevels:
    """Find the levels of labels and splits in the paths of clips, by the rules at the top of this file.

    Parameters
    ----------
    paths : list of str
        Paths of audio files below the source folder, with ``/`` between folders.
    label_depth : int, optional
        Level of the labels, instead of rule 2. Levels that are a split are counted too.

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
    split_levels = tuple(
        level for level in levels if _is_split(folders[level - 1] for folders in _at_least(all_folders, level))
    )
    if label_depth is not None:
        return FolderLevels(label_depth, split_levels)
    for level in levels:
        names = {folders[level - 1] for folders in _at_least(all_folders, level)}
        if level not in split_levels and len(names) > 1:
            return FolderLevels(level, split_levels)
    return FolderLevels(None, split_levels)


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """Sort labels, each once; as numbers if all of them are numbers.

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


def _at_least(all_folders: Sequence[list[str]], level: int) -> list[list[str]]:
    """Return the folders of the clips that are at least `level` folders deep."""
    return [folders for folders in all_folders if len(folders) >= level]


def _is_split(names: Iterable[str]) -> bool:
    """Return whether all folders are named like parts, and they name at least two different parts."""
    parts = {PART_OF.get(name) for name in {name.lower() for name in names}}
    return None not in parts and len(parts) > 1
