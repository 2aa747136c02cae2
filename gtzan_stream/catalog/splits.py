"""Splits into train, valid and test: GTZAN's published ones, random ones by seed, and those of a file.

A split is a dict from key to part, one of `PARTS`. Clips outside the split are not in the dict.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path

from gtzan_stream.catalog.genres import STUDY_GENRES, genre_of, key_of
from gtzan_stream.catalog.rows import read_rows
from gtzan_stream.errors import UserError

PARTS = ("train", "valid", "test")
PART_OF = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid", "test": "test"}
"""Part by each of its common names, in lower case."""
_HEADER = ("part", "split", "set", "subset")


def filtered() -> dict[str, str]:
    """Return the fault-filtered, artist-aware split of GTZAN, with 443 train, 197 valid and 290 test clips.

    References
    ----------
    .. [1] C. Kereliuk, B. L. Sturm, J. Larsen, "Deep learning and music adversaries", IEEE Transactions on
       Multimedia 17(11), 2015.

    >>> filtered()["blues_00029"]
    'train'
    """
    text = files("gtzan_stream.catalog").joinpath("data/filtered.csv").read_text(encoding="utf-8")
    return {row["key"]: row["part"] for row in csv.DictReader(text.splitlines())}


def study() -> dict[str, str]:
    """Return the split of the 2019 study: `filtered` without blues and rock, 353, 150 and 227 clips.

    >>> len(study())
    730
    """
    return {key: part for key, part in filtered().items() if genre_of(key) in STUDY_GENRES}


def stratified(
    labels: Mapping[str, str],
    *,
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    groups: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Split clips at random so that every label is divided in the same fractions.

    Parameters
    ----------
    labels : mapping from key to label
        The order does not matter.
    seed : int
        Each seed gives another split.
    fractions : three floats, none negative, of sum 1
        Shares of train, valid and test. Without groups, a label with at least three clips gets one in every part
        with a share above 0.
    groups : mapping from key to group, optional
        Clips of one group stay in one part. Keys without a group are on their own.

    Returns
    -------
    dict from key to part

    Raises
    ------
    ValueError
        If the fractions are not three shares of 1.

    >>> split = stratified({f"{label}_{i}": label for label in ("jazz", "rock") for i in range(20)})
    >>> sum(part == "train" for part in split.values())
    28
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions must be three shares that sum to 1, for train, valid and test; got {fractions}")
    quotas = {label: _apportion(n, fractions) for label, n in Counter(labels.values()).items()}
    return {key: PARTS[i] for key, i in _deal(labels, quotas, seed, groups).items()}


def folds(
    labels: Mapping[str, str], k: int = 5, *, seed: int = 0, groups: Mapping[str, str] | None = None
) -> list[dict[str, str]]:
    """Split clips into k random folds: split i tests on fold i, validates on fold (i + 1) mod k, trains on the rest.

    Parameters
    ----------
    labels, seed, groups
        As for `stratified`.
    k : int, at least 3
        Number of folds. Without groups, each has the same number of clips of every label, to within one.

    Raises
    ------
    ValueError
        If `k` is below 3.

    >>> sorted(split["a"] for split in folds({"a": "jazz", "b": "jazz", "c": "jazz"}, k=3))
    ['test', 'train', 'valid']
    """
    if k < 3:
        raise ValueError(f"k is the number of folds, at least 3 (train, valid and test); got {k}")
    quotas, extra = {}, 0
    for label, n in sorted(Counter(labels.values()).items()):
        each, rest = divmod(n, k)
        more = {(extra + j) % k for j in range(rest)}  # start where the last label ended, so that folds grow evenly
        quotas[label] = [each + (fold in more) for fold in range(k)]
        extra += rest
    fold_of = _deal(labels, quotas, seed, groups)
    return [{key: _part(fold, i, k) for key, fold in fold_of.items()} for i in range(k)]


PUBLISHED: dict[str, Callable[[], dict[str, str]]] = {
    "filtered": filtered,
    "study": study,
}
"""GTZAN's published splits by name. Every packed set that is GTZAN gets them."""
N_FOLDS = 5
FOLDS = tuple(f"folds-{i}" for i in range(N_FOLDS))
SEEDED = ("stratified", *FOLDS)
"""Names of the splits that every set gets; see `seeded`."""


def seeded(labels: Mapping[str, str], groups: Mapping[str, str] | None = None) -> dict[str, dict[str, str]]:
    """Make the splits of `SEEDED`, by name.

    >>> tuple(seeded({"a": "jazz", "b": "jazz", "c": "jazz"})) == SEEDED
    True
    """
    divided = folds(labels, N_FOLDS, groups=groups)
    return {"stratified": stratified(labels, groups=groups), **dict(zip(FOLDS, divided, strict=True))}


def from_file(path: str | Path, key_for: Callable[[str], str] = key_of) -> dict[str, str]:
    """Read a split from a CSV file of `key,part` rows. A first row that ends in "part", "split", "set" or "subset" is
    a header.

    Parameters
    ----------
    path : path
    key_for : callable, optional
        Returns the key of the clip that a row names. By default, rows may also have clip ids: `blues.00000`.

    Raises
    ------
    UserError
        If the file cannot be read or has no rows, or if a row repeats a key or has an unknown part. The message names
        the line.
    """
    split: dict[str, str] = {}
    for line, cells in read_rows(path, "a split file of key,part rows"):
        if line == 1 and cells[-1].lower() in _HEADER:
            continue
        where = f"{path}, line {line}"
        name, part = _checked(cells, where)
        try:
            key = key_for(name)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if key in split:
            raise UserError(f"{where}: key {key} was given before; a key has one row")
        split[key] = part
    if not split:
        raise UserError(f"{path}: no rows; a split file has a row key,part for every clip")
    return split


def _checked(cells: list[str], where: str) -> tuple[str, str]:
    if len(cells) != 2 or not cells[0]:
        raise UserError(f"{where}: expected key,part such as blues_00000,train; got {','.join(cells)!r}")
    if cells[1].lower() not in PART_OF:
        raise UserError(f"{where}: part is one of {', '.join(PARTS)}; got {cells[1]!r}")
    return cells[0], PART_OF[cells[1].lower()]


def _part(fold: int, test: int, k: int) -> str:
    if fold == test:
        return "test"
    return "valid" if fold == (test + 1) % k else "train"


def _apportion(n: int, fractions: Sequence[float]) -> list[int]:
    """Divide n into whole numbers near the fractions, by largest remainders.

    If n is large enough, every fraction above 0 gets at least 1.
    """
    least = [int(fraction > 0 and n >= len(fractions)) for fraction in fractions]
    quota = [max(low, int(fraction * n)) for low, fraction in zip(least, fractions, strict=True)]
    while sum(quota) < n:
        quota[max(range(len(quota)), key=lambda i: fractions[i] * n - quota[i])] += 1
    while sum(quota) > n:
        quota[max(range(len(quota)), key=lambda i: (quota[i] > least[i], quota[i] - fractions[i] * n))] -= 1
    return quota


def _deal(
    labels: Mapping[str, str], quotas: Mapping[str, list[int]], seed: int, groups: Mapping[str, str] | None
) -> dict[str, int]:
    """Assign every key to a side (a part or a fold, by index), and keep groups together.

    `quotas` has the wanted number of clips of each label on each side. Units (groups, or clips without one) are
    assigned one by one, the largest first, in random order among equals. A unit goes to the side where its labels have
    most room left. Among sides with equal room, a group goes to the one with most room for all labels, so that the
    largest groups of several labels do not meet on one side. When a label has only as many units left as it has empty
    sides, its units go to those, so that a label of few large groups has one on every side.
    """
    units = defaultdict(list)
    for key in sorted(labels):
        units[(groups or {}).get(key, f"alone {key}")].append(key)
    left = {label: list(quota) for label, quota in quotas.items()}
    empty = {label: {side for side, room in enumerate(quota) if room} for label, quota in quotas.items()}
    units_of_labels = [label for unit in units.values() for label in {labels[key] for key in unit}]
    units_left = Counter(units_of_labels)
    sides: dict[str, int] = {}
    for unit in sorted(units.values(), key=lambda unit: (-len(unit), _random_key(seed, unit[0]))):
        room = [sum(free) for free in zip(*(left[labels[key]] for key in unit), strict=True)]
        own = sorted({labels[key] for key in unit})
        must_fill = set().union(*(empty[label] for label in own if units_left[label] <= len(empty[label])))
        spare = [sum(quota[side] for quota in left.values()) if len(unit) > 1 else 0 for side in range(len(room))]
        side = max(must_fill or range(len(room)), key=lambda side: (room[side], spare[side], -side))
        for label in own:
            empty[label].discard(side)
            units_left[label] -= 1
        for key in unit:
            sides[key] = side
            left[labels[key]][side] -= 1
    return sides


def _random_key(seed: int, key: str) -> bytes:
    """Return a sort key that puts clips into a random order, by seed."""
    return blake2b(f"{seed} {key}".encode(), digest_size=8).digest()
