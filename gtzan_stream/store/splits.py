"""Build the splits of a set, for the table splits.parquet.

filtered, study                GTZAN's published splits, if the set is GTZAN
folders                        if the music is in train, valid and test folders
shards                         if the names of indexed shards contain train, valid or test
any other name                 from split files
stratified, folds-0 to folds-4 for every set: random by a fixed seed, stratified by label
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from gtzan_stream.catalog import splits as catalog
from gtzan_stream.catalog.genres import key_of
from gtzan_stream.errors import UserError
from gtzan_stream.store.issues import Issue
from gtzan_stream.store.lookup import Lookup
from gtzan_stream.store.shards import ClipRow
from gtzan_stream.words import count, first_few

Split = dict[str, str]
"""The part of each clip, train, valid or test, by key."""
SplitFiles = str | Path | Mapping[str, str | Path] | None
"""Split files as callers give them: one path, paths by name of the split, or None."""


def load_splits(files: SplitFiles, lookup: Lookup | None = None) -> dict[str, Split]:
    """Read split files, and return their splits by name.

    Parameters
    ----------
    files : mapping from name to path, or a path, or None
        A path alone gives a split named by the file's stem.
    lookup : Lookup, optional
        The clips. Rows then name clips by path or key, and at least one clip must be found. Without it, rows name keys.

    Raises
    ------
    UserError
        If a file cannot be read, has the name of a built-in split, or names none of the clips.
    """
    if files is None:
        return {}
    by_name = files if isinstance(files, Mapping) else {Path(files).stem: files}
    reserved = {*catalog.PUBLISHED, *catalog.SEEDED}
    for name in by_name:
        if name in reserved:
            raise UserError(
                f"{by_name[name]} would make a split named {name}, the name of a built-in split: rename the file"
            )
    if lookup is None:
        return {name: catalog.from_file(path) for name, path in by_name.items()}
    return {name: _load(path, lookup) for name, path in by_name.items()}


def _load(path: str | Path, lookup: Lookup) -> Split:
    split = catalog.from_file(path, lambda name: lookup.find(name) or key_of(name))
    if not split.keys() & lookup.keys():
        key, example = next(iter(lookup.items()))
        raise UserError(
            f"{path}: none of its {len(split)} rows names a clip of SRC: the first is {next(iter(split))!r};"
            f" expected keys such as {key} or paths relative to SRC such as {example}"
        )
    return split


def build_splits(
    rows: Sequence[ClipRow],
    file_splits: Mapping[str, Split],
    *,
    groups: Mapping[str, str],
    is_gtzan: bool,
    folder_split: Split | None = None,
) -> tuple[dict[str, Split], list[Issue]]:
    """Return all splits of a set by name, and an issue for each that names clips the set does not have.

    Parameters
    ----------
    rows : list of ClipRow
    file_splits : mapping from name to split
        Splits from files and from the names of shards.
    groups : mapping from key to group
        Random splits keep the clips of a group in one part. Clips of equal samples must be in one group.
    is_gtzan : bool
        Whether to add GTZAN's published splits.
    folder_split : mapping from key to part, optional
        Parts from the names of the clips' folders. If none is a validation part, one is taken from train.
    """
    labels = {row.key: row.label for row in rows}
    published = {name: load() for name, load in catalog.PUBLISHED.items()} if is_gtzan else {}
    named = {**published, **file_splits}
    issues = [issue for name, split in named.items() if (issue := _missing_clips(name, split, labels))]
    if folder_split:
        named["folders"] = add_validation_part(folder_split, labels, groups)
    named |= catalog.seeded(labels, groups)
    return {name: split for name, split in named.items() if split.keys() & labels.keys()}, issues


def add_validation_part(split: Split, labels: Mapping[str, str], groups: Mapping[str, str]) -> Split:
    """Return a split with a validation part: if it has none, 15 % of the training clips, by a fixed seed.

    The validation part gets whole groups, and the same share of every label. Clips without a label are dropped.
    """
    split = {key: part for key, part in split.items() if key in labels}
    train = {key: labels[key] for key, part in split.items() if part == "train"}
    if "valid" in split.values() or not train:
        return split
    return split | catalog.stratified(train, fractions=(0.85, 0.15, 0.0), groups=groups)


def find_small_labels(labels: Mapping[str, str], groups: Mapping[str, str]) -> list[Issue]:
    """Report the labels with too few clips, or groups of clips, for every part of the random splits.

    A group counts once, since all of its clips are in the same part.
    """
    units: dict[str, set[str]] = defaultdict(set)  # by label: the groups, and the clips without a group
    n_clips: dict[str, int] = defaultdict(int)
    for key, label in labels.items():
        units[label].add(f"group {groups[key]}" if key in groups else f"alone {key}")
        n_clips[label] += 1
    issues = []
    for label in sorted(label for label in units if len(units[label]) < catalog.N_FOLDS):
        n, n_units = n_clips[label], len(units[label])
        has = count(n, "clip")
        has += "" if n == n_units else f" in {count(n_units, 'group')} that stay together"
        if n_units < len(catalog.PARTS):
            kind, need = "few clips", "random splits need 3, one each for train, valid and test"
        else:
            kind, need = "few for folds", f"the folds need {catalog.N_FOLDS}, one each"
        issues.append(Issue(kind, label, "", f"{label} has {has}: {need}"))
    return issues


def describe_small_labels(split: str, report: Sequence[Mapping[str, str]], labels: Mapping[str, str]) -> str:
    """Describe the labels with too few clips for a random split; empty if there are none or it is not random.

    Parameters
    ----------
    split : str
        Name of the split.
    report : list of dict
        The set's report, which lists these labels if they were found when packing.
    labels : mapping from key to label
    """
    if split not in catalog.SEEDED:
        return ""
    kinds = ("few clips", "few for folds") if split in catalog.FOLDS else ("few clips",)
    details = [line["detail"] for line in report if line["kind"] in kinds]
    details = details or [issue.detail for issue in find_small_labels(labels, {}) if issue.kind in kinds]
    return "; ".join(details[:3]) + (f"; and {len(details) - 3} more labels" if len(details) > 3 else "")


def _missing_clips(name: str, split: Split, labels: Mapping[str, str]) -> Issue | None:
    """Report the clips of a split that are not among `labels`."""
    missing = sorted(split.keys() - labels.keys())
    if not missing:
        return None
    detail = f"{len(missing)} of {len(split)} clips are not in this set: {first_few(missing)}"
    return Issue("incomplete split", name, "", detail)
