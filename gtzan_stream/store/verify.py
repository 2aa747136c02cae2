"""Read a whole set of shards again, and list everything that differs from the manifest."""

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.scan_shards import ShardScan, scan_shards
from gtzan_stream.store.shards import ClipRow
from gtzan_stream.store.tables import describe_file

OnProgress = Callable[[int, int], None]


def verify(manifest: Manifest, *, num_workers: int | None = None, progress: OnProgress | None = None) -> list[str]:
    """List the problems of a set: see `find_problems`."""
    return list(find_problems(manifest, num_workers=num_workers, progress=progress))


def find_problems(
    manifest: Manifest, *, num_workers: int | None = None, progress: OnProgress | None = None
) -> Iterator[str]:
    """Compare every shard and table with its checksum, and decode every clip to its end.

    The shards are read as `index` reads them. Every issue that `index` would report is a problem, unless the set's
    report already lists it.

    Parameters
    ----------
    manifest : Manifest
    num_workers : int, optional
        Number of threads that decode; by default the number of usable cores.
    progress : callable (done, total), optional
        Called with the number of bytes of the shards.

    Yields
    ------
    str
        A sentence for each problem, with shard and key, as soon as it is found.
    """
    yield from (problem for table in manifest.tables if (problem := _file_problem(manifest, table)))
    reported = {_issue_id(line["kind"], line["key"], line["source"]) for line in manifest.report}
    total = sum(shard.size for shard in manifest.shards)
    done = 0
    for number, shard in enumerate(manifest.shards):
        try:
            path = manifest.path(shard.name)
        except OSError as error:
            yield str(error)
        else:
            if problem := _file_problem(manifest, vars(shard)):
                yield problem
            found = scan_shards([path], num_workers=num_workers, progress=_shifted(progress, done, total))
            yield from _shard_problems(manifest, number, found, reported)
        done += shard.size
    if progress:
        progress(total, total)


def _shifted(progress: OnProgress | None, before: int, total: int) -> OnProgress | None:
    """Return a callback for the progress within one shard, where `before` bytes were done earlier."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def _file_problem(manifest: Manifest, expected: dict) -> str | None:
    """Compare size and checksum of a shard or table with the manifest. Returns a sentence if they differ."""
    path = manifest.folder.address(expected["name"])
    found = describe_file(manifest.path(expected["name"]))
    if found["size"] != expected["size"]:
        return f"{path}: {found['size']} bytes, the manifest says {expected['size']}"
    if found["sha256"] != expected["sha256"]:
        return f"{path}: sha256 {found['sha256'][:12]}..., the manifest says {expected['sha256'][:12]}..."
    return None


def _issue_id(kind: str, key: str, source: str) -> tuple[str, str, str]:
    """Identify an issue in two reports: by kind and key, or by kind and file if it has no key."""
    return kind, key, "" if key else source


def _shard_problems(
    manifest: Manifest, shard: int, found: ShardScan, reported: set[tuple[str, str, str]]
) -> Iterator[str]:
    """Yield what differs between a scanned shard and its clips in the manifest, and the issues not in `reported`."""
    rows = {row.key: row for row in found.rows}
    details: dict[str, dict[str, str]] = defaultdict(dict)  # of issues, by key and kind
    for issue in found.report:
        details[issue.key][issue.kind] = issue.detail
    listed = set()
    for clip in np.flatnonzero(manifest.shard == shard).tolist():
        key = manifest.keys[clip].as_py()
        listed.add(key)
        if problem := _clip_problem(manifest, clip, rows.get(key), list(details.get(key, {}).values())):
            yield f"{manifest.location(clip)}: {problem}"
            details.pop(key, None)  # one sentence for a clip
    name = manifest.shards[shard].name
    address = manifest.folder.address(name)
    for key, detail_of in details.items():
        for kind, detail in detail_of.items():
            if _issue_id(kind, key, name) not in reported:
                yield f"{address}, key {key}: {detail}" if key else f"{address}: {detail}"
    # A clip that is not listed may be a known duplicate: `index` left it out because an earlier shard has its key,
    # which a scan of this shard alone does not show.
    for key in rows.keys() - listed:
        if _issue_id("duplicate key", key, name) not in reported:
            yield f"{address}, key {key}: the manifest does not list this clip; index or pack the set again"


def _clip_problem(manifest: Manifest, clip: int, row: ClipRow | None, details: list[str]) -> str | None:
    """Compare a clip with its row in the scanned shard. Returns what differs, or None.

    If the shard has no such row, the clip's own issues (`details`) say why.
    """
    if row is None:
        return details[0] if details else "it is not in the shard any more"
    if row.sha256 != manifest.sha256[clip].as_py():
        return "its sha256 differs from the manifest's"
    if (row.frames, row.sample_rate) != (manifest.native_frames[clip], manifest.clip_rate[clip]):
        return (
            f"{row.frames} samples at {row.sample_rate} Hz, "
            f"the manifest says {manifest.native_frames[clip]} at {manifest.clip_rate[clip]}"
        )
    if row.member_offset != manifest.member_offset[clip]:
        return f"it is at byte {row.member_offset}, the manifest says {manifest.member_offset[clip]}"
    if row.label != (label := manifest.labels[manifest.label[clip]]):
        return f"its label is {row.label}, the manifest says {label}"
    return None
