"""Re-read everything in a folder of shards and name what is not as the manifest says."""

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.scan_shards import Scan, scan
from gtzan_stream.store.shards import Row
from gtzan_stream.store.tables import describe_file

Progress = Callable[[int, int], None]


def verify(manifest: Manifest, *, num_workers: int | None = None, progress: Progress | None = None) -> list[str]:
    """Compare every shard and table with its checksum, and decode every clip to its end.

    The shards are read as `index` reads them, so that whatever it would report is found, if packing or indexing has not
    reported it already.

    Parameters
    ----------
    manifest : Manifest
    num_workers : int, optional
        Threads that decode; the usable cores by default.
    progress : callable (done, total), optional
        Called with bytes of the shards.

    Returns
    -------
    list of str
        One sentence for every bad table, shard and member, naming shard and key; empty if all is well.
    """
    problems = [problem for table in manifest.tables if (problem := _differs(manifest, table))]
    reported = {_name(line["kind"], line["key"], line["source"]) for line in manifest.report}
    total = sum(shard.size for shard in manifest.shards)
    done = 0
    for number, shard in enumerate(manifest.shards):
        try:
            path = manifest.path(shard.name)
        except OSError as error:
            problems.append(str(error))
        else:
            if problem := _differs(manifest, vars(shard)):
                problems.append(problem)
            before = done
            found = scan([path], num_workers=num_workers, progress=_moved(progress, before, total))
            problems += _verify_shard(manifest, number, found, reported)
        done += shard.size
    if progress:
        progress(total, total)
    return problems


def _moved(progress: Progress | None, before: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(before + done, total)


def _differs(manifest: Manifest, expected: dict) -> str | None:
    path = manifest.folder.address(expected["name"])
    found = describe_file(manifest.path(expected["name"]))
    if found["size"] != expected["size"]:
        return f"{path}: {found['size']} bytes, the manifest says {expected['size']}"
    if found["sha256"] != expected["sha256"]:
        return f"{path}: sha256 {found['sha256'][:12]}..., the manifest says {expected['sha256'][:12]}..."
    return None


def _name(kind: str, key: str, source: str) -> tuple[str, str, str]:
    """What makes two lines of reports the same: the file counts only where no clip is named."""
    return kind, key, "" if key else source


def _verify_shard(manifest: Manifest, shard: int, found: Scan, reported: set[tuple[str, str, str]]) -> Iterator[str]:
    """What differs between a shard as it was read and its clips in the manifest, or was not reported before."""
    rows = {row.key: row for row in found.rows}
    odd: dict[str, dict[str, str]] = defaultdict(dict)  # details by key and kind
    for line in found.report:
        odd[line.key][line.kind] = line.detail
    listed = set()
    for clip in np.flatnonzero(manifest.shard == shard).tolist():
        key = manifest.keys[clip].as_py()
        listed.add(key)
        if problem := _bad_clip(manifest, clip, rows.get(key), list(odd.get(key, {}).values())):
            yield f"{manifest.location(clip)}: {problem}"
            odd.pop(key, None)
    name = manifest.shards[shard].name
    address = manifest.folder.address(name)
    for key, details in odd.items():
        for kind, detail in details.items():
            if _name(kind, key, name) not in reported:
                yield f"{address}, key {key}: {detail}" if key else f"{address}: {detail}"
    for key in rows.keys() - listed:
        if _name("duplicate key", key, name) not in reported:
            yield f"{address}, key {key}: the manifest does not list this clip; index or pack the set again"


def _bad_clip(manifest: Manifest, clip: int, row: Row | None, odd: list[str]) -> str | None:
    if row is None:
        return odd[0] if odd else "it is not in the shard any more"
    if row.sha256 != manifest.sha256[clip].as_py():
        return "its sha256 is not the manifest's"
    if (row.frames, row.sample_rate) != (manifest.native_frames[clip], manifest.clip_rate[clip]):
        return (
            f"{row.frames} samples at {row.sample_rate} Hz, "
            f"the manifest says {manifest.native_frames[clip]} at {manifest.clip_rate[clip]}"
        )
    if row.member_offset != manifest.member_offset[clip]:
        return f"it lies at byte {row.member_offset}, the manifest says {manifest.member_offset[clip]}"
    if row.label != (label := manifest.labels[manifest.label[clip]]):
        return f"its label is {row.label}, the manifest says {label}"
    return None
