"""Make a manifest for WebDataset shards that somebody else packed; the shards stay as they are."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from gtzan_stream.catalog import faults
from gtzan_stream.catalog.splits import PART_OF
from gtzan_stream.errors import UserError
from gtzan_stream.store.issues import Issue, find_duplicates
from gtzan_stream.store.labels import sorted_labels
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.scan_shards import scan
from gtzan_stream.store.shards import Row
from gtzan_stream.store.splits import SplitFiles, applicable_splits, load_splits, too_few
from gtzan_stream.store.swap import locked_for_packing, replacing
from gtzan_stream.store.tables import SAMPLES, SPLITS, describe_file, write_manifest, write_samples, write_splits
from gtzan_stream.words import count, first_few

_TABLE_BYTES = 300
"""Of the tables, for a clip, about."""


def index(
    root: str | Path,
    *,
    splits: SplitFiles = None,
    num_workers: int | None = None,
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Write manifest.json, samples.parquet and splits.parquet beside the ``*.tar`` shards in `root`.

    A sample is an audio member and members of the same key that say its label: ``label`` or ``genre`` in its ``.json``,
    else its ``.cls`` or ``.txt``, else its key up to the first underscore. Each is decoded to its end, and whatever is
    damaged, double or left out is in the manifest's report. The set's rate is that of most clips. Shards
    with a part in their names (``music-train-000.tar``) also give a split named ``shards``.

    Parameters
    ----------
    root : folder
    splits, num_workers, name, progress
        As for `pack`; `progress` counts bytes.

    Raises
    ------
    UserError
        If `root` holds no shards, or no clip with a label in them.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give the folder of the *.tar shards")
    with locked_for_packing(root):  # from the beginning, so that nobody packs into it meanwhile
        paths = sorted(root.glob("*.tar"))
        if not paths:
            raise UserError(f"{root} holds no *.tar shards (compressed ones cannot be read in part: decompress them)")
        extra = load_splits(splits)
        found = scan(paths, num_workers=num_workers, progress=progress)
        rows, report = found.rows, found.report
        if not rows:
            raise UserError(
                f"{root}: no sample with audio and a label in {count(len(paths), 'shard')}; {_first(report)}"
            )
        label_of, sources = {row.key: row.label for row in rows}, {row.key: row.shard for row in rows}
        report += find_duplicates(label_of, found.digests, sources) + too_few(label_of, found.digests)
        report += _mixed_labels(label_of)
        is_gtzan = all(row.key in faults.CHECKSUMS for row in rows)
        divided, split_report = applicable_splits(
            rows, _split_by_shard(rows) | extra, digests=found.digests, is_gtzan=is_gtzan
        )
        shards = [describe_file(path) for path in paths]
        with replacing(root, _TABLE_BYTES * len(rows)) as folder:
            write_samples(folder / SAMPLES, rows)
            counts = write_splits(folder / SPLITS, [row.key for row in rows], divided)
            write_manifest(
                folder,
                origin="index",
                dataset=name or ("gtzan" if is_gtzan else root.resolve().name),
                sample_rate=Counter(row.sample_rate for row in rows).most_common(1)[0][0],
                labels=sorted_labels(row.label for row in rows),
                shards=shards,
                clips=len(rows),
                splits=counts,
                left_out=found.left_out,
                report=report + split_report,
            )
    return Manifest.open(root)


def _first(report: list[Issue]) -> str:
    if not report:
        return "there is no audio"
    key = f", key {report[0].key}" if report[0].key else ""
    return f"the first: {report[0].source}{key}: {report[0].detail}"


def _mixed_labels(label_of: dict[str, str]) -> list[Issue]:
    """Report labels of which some are numbers and others words: likely two names of the same classes."""
    labels = set(label_of.values())
    numbers = sorted_labels(label for label in labels if label.isdecimal())
    words = sorted_labels(labels - set(numbers))
    if not numbers or not words:
        return []
    kinds = f"some labels are numbers ({first_few(numbers)}) and others words ({first_few(words)})"
    detail = f"{kinds}: they may be the same classes"
    return [Issue("mixed labels", "", "", detail)]


def _split_by_shard(rows: list[Row]) -> dict[str, dict[str, str]]:
    part_of = {}
    for row in rows:
        words = re.split(r"[^a-z]+", row.shard.lower())
        part = next((PART_OF[word] for word in words if word in PART_OF), None)
        if part:
            part_of[row.key] = part
    return {"shards": part_of} if part_of else {}
