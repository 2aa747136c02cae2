"""Every split that applies to a set of clips, for the table that stands beside the shards."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gtzan_stream.catalog import splits as catalog
from gtzan_stream.errors import UserError
from gtzan_stream.store.check import Oddity
from gtzan_stream.store.shards import Row

N_FOLDS = 5
Split = dict[str, str]
SplitFiles = str | Path | Mapping[str, str | Path] | None


def load_splits(files: SplitFiles) -> dict[str, Split]:
    """Read split files by name; a path alone is named by its stem."""
    if files is None:
        return {}
    by_name = files if isinstance(files, Mapping) else {Path(files).stem: files}
    reserved = {"filtered", "study", "stratified", *(f"folds-{i}" for i in range(N_FOLDS))}
    for name in by_name:
        if name in reserved:
            raise UserError(f"{by_name[name]} would make a split named {name}, which every set has: rename the file")
    return {name: catalog.from_file(path) for name, path in by_name.items()}


def applicable_splits(
    rows: Sequence[Row], extra: Mapping[str, Split], *, digests: Mapping[str, str], is_gtzan: bool
) -> tuple[dict[str, Split], list[Oddity]]:
    """Splits by name, and a line of report for each that names clips the set does not have.

    ``filtered`` and ``study`` for GTZAN, ``stratified`` and ``folds-0`` to ``folds-4`` (which keep clips of equal
    `digests`, by key, on one side) for any set, and the `extra` ones.
    """
    labels = {row.key: row.label for row in rows}
    published = {"filtered": catalog.filtered(), "study": catalog.study()} if is_gtzan else {}
    seeded = {"stratified": catalog.stratified(labels, groups=digests)}
    seeded |= {f"folds-{i}": fold for i, fold in enumerate(catalog.folds(labels, N_FOLDS, groups=digests))}
    named = {**published, **extra}
    report = [oddity for name, split in named.items() if (oddity := _incomplete(name, split, labels))]
    return {name: split for name, split in (named | seeded).items() if split.keys() & labels.keys()}, report


def _incomplete(name: str, split: Split, labels: Mapping[str, str]) -> Oddity | None:
    absent = sorted(split.keys() - labels.keys())
    if not absent:
        return None
    some = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
    return Oddity("incomplete split", name, "", f"{len(absent)} of {len(split)} clips are not here: {some}")
