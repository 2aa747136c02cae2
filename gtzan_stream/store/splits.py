"""Every split that applies to a set of clips, for the table that stands beside the shards."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from gtzan_stream.catalog import splits as catalog
from gtzan_stream.catalog.genres import key_of
from gtzan_stream.errors import UserError
from gtzan_stream.store.issues import Issue
from gtzan_stream.store.lookup import Lookup
from gtzan_stream.store.shards import Row
from gtzan_stream.words import count, first_few

N_FOLDS = 5
Split = dict[str, str]
SplitFiles = str | Path | Mapping[str, str | Path] | None


def load_splits(files: SplitFiles, lookup: Lookup | None = None) -> dict[str, Split]:
    """Read split files by name; a path alone is named by its stem.

    With a `lookup`, rows name clips by path or key and one of them at least must be there; without, they are keys.

    Raises
    ------
    UserError
        If a file cannot be read, would take the name of a split that every set has, or names none of the clips.
    """
    if files is None:
        return {}
    by_name = files if isinstance(files, Mapping) else {Path(files).stem: files}
    reserved = {"filtered", "study", "stratified", *(f"folds-{i}" for i in range(N_FOLDS))}
    for name in by_name:
        if name in reserved:
            raise UserError(f"{by_name[name]} would make a split named {name}, which every set has: rename the file")
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


def applicable_splits(
    rows: Sequence[Row],
    extra: Mapping[str, Split],
    *,
    digests: Mapping[str, str],
    is_gtzan: bool,
    folders: Split | None = None,
) -> tuple[dict[str, Split], list[Issue]]:
    """Splits by name, and a line of report for each that names clips the set does not have.

    ``filtered`` and ``study`` for GTZAN, ``stratified`` and ``folds-0`` to ``folds-4`` for any set, and the `extra`
    ones. The random ones keep clips of equal `digests`, by key, on one side: the checksums of their samples, or what
    stands for the clips that are joined by samples and groups. `folders` are the parts by key that train, valid and
    test folders say: the split ``folders``.
    """
    labels = {row.key: row.label for row in rows}
    published = {"filtered": catalog.filtered(), "study": catalog.study()} if is_gtzan else {}
    given = {"folders": with_validation(folders, labels, digests)} if folders else {}
    seeded = {"stratified": catalog.stratified(labels, groups=digests)}
    seeded |= {f"folds-{i}": fold for i, fold in enumerate(catalog.folds(labels, N_FOLDS, groups=digests))}
    named = {**published, **extra}
    report = [oddity for name, split in named.items() if (oddity := _incomplete(name, split, labels))]
    every = named | given | seeded
    return {name: split for name, split in every.items() if split.keys() & labels.keys()}, report


def with_validation(split: Split, labels: Mapping[str, str], together: Mapping[str, str]) -> Split:
    """Give a split that has no validation part one: 15 % of the training clips of each label, whole groups, by seed."""
    split = {key: part for key, part in split.items() if key in labels}
    train = {key: labels[key] for key, part in split.items() if part == "train"}
    if "valid" in split.values() or not train:
        return split
    return split | catalog.stratified(train, fractions=(0.85, 0.15, 0.0), groups=together)


def too_few(labels: Mapping[str, str], together: Mapping[str, str]) -> list[Issue]:
    """Report the labels with too few clips, or groups of clips that stay together, for the parts of random splits."""
    units: dict[str, set[str]] = defaultdict(set)
    clips: dict[str, int] = defaultdict(int)
    for key, label in labels.items():
        units[label].add(f"group {together[key]}" if key in together else f"alone {key}")
        clips[label] += 1
    found = []
    for label in sorted(label for label in units if len(units[label]) < N_FOLDS):
        n, apart = clips[label], len(units[label])
        has = count(n, "clip")
        has += "" if n == apart else f" in {count(apart, 'group')} that stay together"
        if apart < len(catalog.PARTS):
            kind, need = "few clips", "3 for one in train, valid and test of the random splits"
        else:
            kind, need = "few for folds", f"{N_FOLDS} for one in each of the folds"
        found.append(Issue(kind, label, "", f"{label} has {has}: it takes {need}"))
    return found


def _incomplete(name: str, split: Split, labels: Mapping[str, str]) -> Issue | None:
    absent = sorted(split.keys() - labels.keys())
    if not absent:
        return None
    return Issue(
        "incomplete split", name, "", f"{len(absent)} of {len(split)} clips are not in this set: {first_few(absent)}"
    )
