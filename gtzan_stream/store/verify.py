"""Re-read everything in a folder of shards and name what is not as the manifest says."""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np

from gtzan_stream import audio
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.parallel import in_order
from gtzan_stream.store.tables import describe_file


def verify(
    manifest: Manifest, *, num_workers: int | None = None, progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Compare every shard, table and member with its checksum, and decode every member.

    Parameters
    ----------
    manifest : Manifest
    num_workers : int, optional
        Shards read at a time; the usable cores by default.
    progress : callable (done, total), optional
        Called after each shard.

    Returns
    -------
    list of str
        One sentence for every bad table, shard and member, naming shard and key; empty if all is well.
    """
    problems = [problem for table in manifest.tables if (problem := _differs(manifest, table))]
    shards = in_order(lambda shard: list(_verify_shard(manifest, shard)), range(len(manifest.shards)), num_workers)
    for done, found in enumerate(shards, 1):
        problems += found
        if progress:
            progress(done, len(manifest.shards))
    return problems


def _differs(manifest: Manifest, expected: dict) -> str | None:
    path = manifest.folder.address(expected["name"])
    found = describe_file(manifest.path(expected["name"]))
    if found["size"] != expected["size"]:
        return f"{path}: {found['size']} bytes, the manifest says {expected['size']}"
    if found["sha256"] != expected["sha256"]:
        return f"{path}: sha256 {found['sha256'][:12]}..., the manifest says {expected['sha256'][:12]}..."
    return None


def _verify_shard(manifest: Manifest, shard: int) -> Iterator[str]:
    described = manifest.shards[shard]
    try:
        path = manifest.path(described.name)
    except OSError as error:
        yield str(error)
        return
    if problem := _differs(manifest, vars(described)):
        yield problem
    with path.open("rb") as file:
        for clip in np.flatnonzero(manifest.shard == shard).tolist():
            file.seek(manifest.member_offset[clip])
            data = file.read(manifest.member_size[clip])
            if problem := _bad_member(manifest, clip, data):
                yield f"{manifest.where(clip)}: {problem}"


def _bad_member(manifest: Manifest, clip: int, data: bytes) -> str | None:
    if len(data) < manifest.member_size[clip]:
        return f"the shard ends after {len(data)} of its {manifest.member_size[clip]} bytes"
    if hashlib.sha256(data).hexdigest() != manifest.sha256[clip].as_py():
        return "its sha256 is not the manifest's"
    try:
        waveform, rate = audio.decode(data)
    except ValueError as error:
        return str(error)
    if (len(waveform), rate) != (manifest.frames[clip], manifest.clip_rate[clip]):
        return (
            f"{len(waveform)} samples at {rate} Hz, "
            f"the manifest says {manifest.frames[clip]} at {manifest.clip_rate[clip]}"
        )
    return None
