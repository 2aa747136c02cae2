"""Write a manifest for WebDataset shards that another program packed; the shards are not changed."""

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from gtzan_stream.catalog import faults
from gtzan_stream.catalog.splits import PART_OF
from gtzan_stream.errors import UserError
from gtzan_stream.store.issues import Issue, find_duplicates
from gtzan_stream.store.labels import sorted_labels
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.scan_shards import scan_shards
from gtzan_stream.store.shards import ClipRow
from gtzan_stream.store.splits import SplitFiles, build_splits, find_small_labels, load_splits
from gtzan_stream.store.swap import locked_for_packing, replace_set
from gtzan_stream.store.tables import SAMPLES, SPLITS, describe_file, write_manifest, write_samples, write_splits
from gtzan_stream.words import count, first_few

_TABLE_BYTES_PER_CLIP = 300  # approximate


def index(
    root: str | Path,
    *,
    splits: SplitFiles = None,
    num_workers: int | None = None,
    name: str | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> Manifest:
    """Write manifest.json, samples.parquet and splits.parquet beside the ``*.tar`` shards in `root`.

    Each audio member of a WebDataset sample is a clip; of members that differ in the extension only, the first. A
    clip's label is ``label`` or ``genre`` in the ``.json``, else the content of the ``.cls`` or ``.txt``, else its key
    up to the first underscore. Each clip is decoded to its end; the manifest's report lists what is damaged, duplicate
    or left out. The set's sample rate is that of most clips. If the names of shards contain a part
    (``music-train-000.tar``), they also make a split named ``shards``.

    Parameters
    ----------
    root : folder
    splits, num_workers, name, progress
        As in `pack`, but while clips are read, `progress` counts bytes of the shards.

    Raises
    ------
    UserError
        If `root` holds no shards, or they hold no clip with a label.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give the folder of the *.tar shards")
    with locked_for_packing(root):  # lock before reading, so that no other process packs into it meanwhile
        paths = sorted(root.glob("*.tar"))
        if not paths:
            raise UserError(f"{root} holds no *.tar shards (compressed ones cannot be read in part: decompress them)")
        file_splits = load_splits(splits)
        on_stage = progress or (lambda stage, done, total: None)
        found = scan_shards(paths, num_workers=num_workers, progress=partial(on_stage, "reading shards"))
        rows, report = found.rows, found.report
        if not rows:
            raise UserError(f"{root}: no clip with a label in {count(len(paths), 'shard')}; {_describe_first(report)}")
        label_of, sources = {row.key: row.label for row in rows}, {row.key: row.shard for row in rows}
        report += find_duplicates(label_of, found.digests, sources) + find_small_labels(label_of, found.digests)
        report += _mixed_labels(label_of)
        is_gtzan = all(row.key in faults.CHECKSUMS for row in rows)
        named_splits, split_report = build_splits(
            rows, _split_by_shard_name(rows) | file_splits, groups=found.digests, is_gtzan=is_gtzan
        )
        shards: list[dict[str, Any]] = []
        for path in paths:
            on_stage("computing checksums", len(shards), len(paths))
            shards.append(describe_file(path))
        on_stage("writing tables", 0, None)
        with replace_set(root, _TABLE_BYTES_PER_CLIP * len(rows)) as folder:
            write_samples(folder / SAMPLES, rows)
            counts = write_splits(folder / SPLITS, [row.key for row in rows], named_splits)
            write_manifest(
                folder,
                origin="index",
                dataset=name or ("gtzan" if is_gtzan else root.resolve().name),
                sample_rate=Counter(row.sample_rate for row in rows).most_common(1)[0][0],
                labels=sorted_labels(row.label for row in rows),
                shards=shards,
                clips=len(rows),
                splits=counts,
                left_out=found.n_left_out,
                report=report + split_report,
            )
    return Manifest.open(root)


def _describe_first(report: list[Issue]) -> str:
    if not report:
        return "there is no audio"
    key = f", key {report[0].key}" if report[0].key else ""
    return f"the first issue: {report[0].source}{key}: {report[0].detail}"


def _mixed_labels(label_of: dict[str, str]) -> list[Issue]:
    """Report a mix of labels that are numbers and labels that are words: likely two names for each class."""
    labels = set(label_of.values())
    numbers = sorted_labels(label for label in labels if label.isdecimal())
    words = sorted_labels(labels - set(numbers))
    if not numbers or not words:
        return []
    mix = f"some labels are numbers ({first_few(numbers)}) and others words ({first_few(words)})"
    detail = f"{mix}: they may be the same classes"
    return [Issue("mixed labels", "", "", detail)]


def _split_by_shard_name(rows: list[ClipRow]) -> dict[str, dict[str, str]]:
    """Return the split ``shards``: the part in the name of each clip's shard. No split if no name contains one."""
    part_of = {}
    for row in rows:
        words = re.split(r"[^a-z]+", row.shard.lower())
        part = next((PART_OF[word] for word in words if word in PART_OF), None)
        if part:
            part_of[row.key] = part
    return {"shards": part_of} if part_of else {}
