"""Groups of clips that random splits must keep in one part, such as all clips of an artist."""

import re
from collections.abc import Mapping

from gtzan_stream.errors import UserError
from gtzan_stream.store.keys import printable


def group_names(paths: Mapping[str, str], group_by: int | str) -> dict[str, str]:
    """Return the name of each clip's group, by key. Clips without a group are left out.

    Parameters
    ----------
    paths : mapping from key to path below the source folder
    group_by : int or str
        A number is a level of folders, 1 for the first below the source folder: the name of a clip's folder at that
        level is its group, so folders of the same name are one group. Anything else is a regular expression with one
        capture group, searched in the path: the captured text names the group.

    Raises
    ------
    UserError
        If no clip gets a group, or `group_by` is not a valid expression with exactly one capture group.

    >>> group_names({"rock_1": "rock/Ann/1.wav", "pop_2": "pop/Ann/2.wav"}, 2)
    {'rock_1': 'Ann', 'pop_2': 'Ann'}
    >>> group_names({"0_a_1": "0/0_ann_1.wav"}, "_([a-z]+)_")
    {'0_a_1': 'ann'}
    """
    text = str(group_by).strip()
    if text.isdecimal():
        folders_of = {key: printable(path).split("/")[:-1] for key, path in paths.items()}
        level = int(text)
        groups = {key: folders[level - 1] for key, folders in folders_of.items() if 1 <= level <= len(folders)}
        if not groups:
            deepest = max(map(len, folders_of.values()), default=0)
            levels = f"the levels of folders below SRC are 1 to {deepest} here"
            raise UserError(f"--group-by {text}: {levels if deepest else 'there are no folders below SRC'}")
        return groups
    pattern = _compiled(text)
    matches = {key: pattern.search(printable(path)) for key, path in paths.items()}
    groups = {key: match[1] for key, match in matches.items() if match and match[1]}
    if not groups:
        raise UserError(
            f"--group-by {text}: matches no path in SRC; the first path is {printable(next(iter(paths.values())))}"
        )
    return groups


def _compiled(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UserError(f"--group-by {text} is neither a level nor a regular expression: {error}") from None
    if pattern.groups != 1:
        raise UserError(f"--group-by {text}: expected one pair of parentheses, around the group's name")
    return pattern


def merge_groups(*groupings: Mapping[str, str]) -> dict[str, str]:
    """Merge groups that share clips: the connected components of several groupings, by union-find.

    Each grouping maps keys to groups, for example to artists and to checksums of samples. Two clips are in one merged
    group if a chain of clips connects them, in which each clip shares a group of some grouping with the next. A merged
    group is named by its smallest key.

    In the example, a and b share Ann, and b and c share their samples.

    >>> merge_groups({"a": "Ann", "b": "Ann", "d": "Bob"}, {"b": "same", "c": "same"})
    {'a': 'a', 'b': 'a', 'd': 'd', 'c': 'a'}
    """
    parent: dict[str, str] = {}

    def find_root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]  # path halving keeps the trees flat
            key = parent[key]
        return key

    for grouping in groupings:
        first_key: dict[str, str] = {}  # first key of each group
        for key, group in grouping.items():
            parent.setdefault(key, key)
            one, other = find_root(first_key.setdefault(group, key)), find_root(key)
            parent[max(one, other)] = min(one, other)
    return {key: find_root(key) for key in parent}
