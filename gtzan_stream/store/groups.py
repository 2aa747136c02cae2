"""Clips that belong on one side of a random split: of one group, an artist say, or of the same samples."""

import re
from collections.abc import Mapping

from gtzan_stream.errors import UserError
from gtzan_stream.store.keys import printable


def group_names(paths: Mapping[str, str], group_by: int | str) -> dict[str, str]:
    """Group of each clip that has one, by key.

    Parameters
    ----------
    paths : mapping from key to path below the source folder
    group_by : int or str
        A number is a level of folders, 1 the first below the source folder: clips in folders of one name are a group.
        Anything else is a regular expression with one group, searched in the path: what it matches names the group.

    Raises
    ------
    UserError
        If no clip gets a group, or the expression is none or has no group.

    >>> group_names({"rock_1": "rock/Ann/1.wav", "pop_2": "pop/Ann/2.wav"}, 2)
    {'rock_1': 'Ann', 'pop_2': 'Ann'}
    >>> group_names({"0_a_1": "0/0_ann_1.wav"}, "_([a-z]+)_")
    {'0_a_1': 'ann'}
    """
    level = str(group_by).strip()
    if level.isdecimal():
        split = {key: printable(path).split("/")[:-1] for key, path in paths.items()}
        number = int(level)
        named = {key: folders[number - 1] for key, folders in split.items() if 1 <= number <= len(folders)}
        if not named:
            deepest = max(map(len, split.values()), default=0)
            raise UserError(f"--group-by {level}: the levels of folders below SRC are 1 to {deepest} here")
        return named
    pattern = _pattern(level)
    matches = {key: pattern.search(printable(path)) for key, path in paths.items()}
    named = {key: match[1] for key, match in matches.items() if match and match[1]}
    if not named:
        raise UserError(f"--group-by {level}: matches no path in SRC, such as {printable(next(iter(paths.values())))}")
    return named


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UserError(f"--group-by {text} is neither a level nor a regular expression: {error}") from None
    if pattern.groups != 1:
        raise UserError(f"--group-by {text}: expected one pair of parentheses, around the group's name")
    return pattern


def merge_groups(*relations: Mapping[str, str]) -> dict[str, str]:
    """Join clips that any of the relations joins, directly or by way of others; each is a mapping from key to group.

    >>> merge_groups({"a": "Ann", "b": "Ann", "d": "Bob"}, {"b": "same", "c": "same"})
    {'a': 'a', 'b': 'a', 'd': 'd', 'c': 'a'}
    """
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader[key] != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    for relation in relations:
        first: dict[str, str] = {}
        for key, group in relation.items():
            leader.setdefault(key, key)
            one, other = find(first.setdefault(group, key)), find(key)
            leader[max(one, other)] = min(one, other)
    return {key: find(key) for key in leader}
