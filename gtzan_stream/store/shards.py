"""Deal clips into shards, write the shards, and find every member's place in one."""

import hashlib
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gtzan_stream import audio
from gtzan_stream.audio import wav_data

MTIME = 0  # a whole number, which needs no header of its own; a shard's bytes depend on the music alone


@dataclass(frozen=True)
class Row:
    """A row of samples.parquet: where a clip's bytes are, and what they hold.

    `member_offset` and `member_size` delimit the audio file inside its shard, `data_offset` and `data_size` the samples
    of a WAV file (the whole member for other codecs), in bytes; `frames` counts samples at `sample_rate`.
    """

    key: str
    clip_id: str
    shard: str
    member_offset: int
    member_size: int
    data_offset: int
    data_size: int
    frames: int
    sample_rate: int
    channels: int
    encoding: str
    label: str
    sha256: str

    def moved_by(self, offset: int) -> "Row":
        """The same row, `offset` bytes further on."""
        return replace(self, member_offset=self.member_offset + offset, data_offset=self.data_offset + offset)

    def labelled(self, label: str) -> "Row":
        """The same row with another label."""
        return replace(self, label=label)


@dataclass(frozen=True)
class Member:
    """An encoded clip on its way into a shard."""

    key: str
    clip_id: str
    label: str
    source: str
    codec: str
    frames: int
    sample_rate: int
    data: bytes

    def as_sample(self) -> dict[str, Any]:
        metadata = {
            "clip_id": self.clip_id,
            "label": self.label,
            "sample_rate": self.sample_rate,
            "frames": self.frames,
            "source": self.source,
        }
        return {"__key__": self.key, self.codec: self.data, "json": json.dumps(metadata, ensure_ascii=False).encode()}


def assign_shards(labels: Sequence[str], sizes: Sequence[int], shard_bytes: int) -> list[list[int]]:
    """Deal clips into as many shards as `shard_bytes` asks for, so that each has as much of every label as any other.

    Label by label, largest clips first, a round gives every shard one clip, the largest to the shard that is smallest.

    Returns
    -------
    list of lists of int
        The clips of each shard, by number.

    >>> shards = assign_shards(["a", "a", "b", "b"], [4, 1, 1, 3], shard_bytes=5)
    >>> [sorted(shard) for shard in shards]
    [[0, 2], [1, 3]]
    """
    n_shards = min(len(sizes), max(1, -(-sum(sizes) // shard_bytes)))
    filled = np.zeros(n_shards, np.int64)
    shards: list[list[int]] = [[] for _ in range(n_shards)]
    by_label = defaultdict(list)
    for clip, label in enumerate(labels):
        by_label[label].append(clip)
    for label in sorted(by_label):
        clips = sorted(by_label[label], key=lambda clip: -sizes[clip])
        for first in range(0, len(clips), n_shards):
            order = np.argsort(filled, kind="stable")
            for clip, shard in zip(clips[first : first + n_shards], order, strict=False):
                shards[shard].append(clip)
                filled[shard] += sizes[clip]
    return shards


def write_shard(path: Path, members: Iterable[Member]) -> list[Row]:
    """Write one shard with `webdataset.TarWriter` and return its rows."""
    from webdataset import TarWriter

    rows = []
    with path.open("wb") as file, TarWriter(file, mtime=MTIME, encoder=False) as tar:
        for member in members:
            tar.write(member.as_sample())
            rows.append((f"{member.key}.{member.codec}", _row(member, path.name)))
    with tarfile.open(path) as tar:
        offsets = {entry.name: entry.offset_data for entry in tar}
    return [row.moved_by(offsets[name]) for name, row in rows]


def _row(member: Member, shard: str) -> Row:
    """Row of a clip whose member begins at byte 0."""
    offset, size, encoding = data_location(member.data)
    return Row(
        key=member.key,
        clip_id=member.clip_id,
        shard=shard,
        member_offset=0,
        member_size=len(member.data),
        data_offset=offset,
        data_size=size,
        frames=member.frames,
        sample_rate=member.sample_rate,
        channels=1,
        encoding=encoding,
        label=member.label,
        sha256=hashlib.sha256(member.data).hexdigest(),
    )


def data_location(data: bytes, pcm: audio.Pcm | None = None) -> tuple[int, int, str]:
    """Offset and size, in bytes, of the samples in an audio file, and their encoding.

    The whole file counts as samples where they do not lie in it as numbers. If `pcm`, what was decoded of it, does not
    agree with the header of a FLAC file, the encoding is "flac (whole)": only decoding all of it gives those samples.
    """
    wav = wav_data(data)
    if wav and (pcm is None or wav.frames == len(pcm.samples)):
        return wav.offset, wav.size, wav.encoding
    header = pcm.source if pcm else audio.info(data)
    seekable = pcm is None or (header.frames == len(pcm.samples) and not pcm.damage)
    return 0, len(data), header.format.lower() + (" (whole)" if header.format == "FLAC" and not seekable else "")
