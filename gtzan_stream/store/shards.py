"""Assign clips to shards, write the shards, and locate the audio data in them."""

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

MTIME = 0  # fixed, so that a shard's bytes depend only on the music; an integer, as fractions need an extended header


@dataclass(frozen=True)
class ClipRow:
    """A row of samples.parquet: the position of a clip in its shard, and its format.

    `member_offset` and `member_size` are the position and size of the audio file in the shard, `data_offset` and
    `data_size` those of the audio data in a WAV file (the whole file for other codecs), all in bytes. `frames` is the
    number of samples at `sample_rate`.
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

    def shifted(self, offset: int) -> "ClipRow":
        """Return the same row with both positions moved by `offset` bytes."""
        return replace(self, member_offset=self.member_offset + offset, data_offset=self.data_offset + offset)


@dataclass(frozen=True)
class EncodedClip:
    """An encoded clip, ready to be written into a shard."""

    key: str
    clip_id: str
    label: str
    source: str
    codec: str
    frames: int
    sample_rate: int
    data: bytes

    def as_webdataset_sample(self) -> dict[str, Any]:
        """Return the WebDataset sample to write: an audio file and a JSON file."""
        metadata = {
            "clip_id": self.clip_id,
            "label": self.label,
            "sample_rate": self.sample_rate,
            "frames": self.frames,
            "source": self.source,
        }
        return {"__key__": self.key, self.codec: self.data, "json": json.dumps(metadata, ensure_ascii=False).encode()}


def assign_shards(labels: Sequence[str], sizes: Sequence[int], shard_bytes: int) -> list[list[int]]:
    """Assign clips to shards so that the shards have about the same size and the same number of clips of each label.

    There are as many shards as needed for `shard_bytes` each. The labels are dealt one after the other, and the clips
    of a label in rounds, largest clips first. A round gives every shard at most one clip: its largest clip goes to the
    shard that is the smallest so far, its second largest to the second smallest shard, and so on. So the numbers of
    clips of a label in any two shards differ by at most one.

    In the example, there are two shards. Label a is dealt in one round: the clip of 4 bytes to the first shard, that of
    1 byte to the second. For label b, the second shard is the smaller one, so it gets the clip of 3 bytes.

    Returns
    -------
    list of lists of int
        The clips of each shard, as indices.

    >>> shards = assign_shards(["a", "a", "b", "b"], [4, 1, 1, 3], shard_bytes=5)
    >>> [sorted(shard) for shard in shards]
    [[0, 2], [1, 3]]
    """
    n_shards = min(len(sizes), max(1, -(-sum(sizes) // shard_bytes)))
    n_bytes = np.zeros(n_shards, np.int64)
    shards: list[list[int]] = [[] for _ in range(n_shards)]
    by_label = defaultdict(list)
    for clip, label in enumerate(labels):
        by_label[label].append(clip)
    for label in sorted(by_label):
        clips = sorted(by_label[label], key=lambda clip: -sizes[clip])
        for first in range(0, len(clips), n_shards):  # one round
            smallest_first = np.argsort(n_bytes, kind="stable")
            for clip, shard in zip(clips[first : first + n_shards], smallest_first, strict=False):
                shards[shard].append(clip)
                n_bytes[shard] += sizes[clip]
    return shards


def write_shard(path: Path, clips: Iterable[EncodedClip]) -> list[ClipRow]:
    """Write one shard with `webdataset.TarWriter`, and return its rows."""
    from webdataset import TarWriter

    rows = []
    with path.open("wb") as file, TarWriter(file, mtime=MTIME, encoder=False) as tar:
        for clip in clips:
            tar.write(clip.as_webdataset_sample())
            rows.append((f"{clip.key}.{clip.codec}", _row(clip, path.name)))
    with tarfile.open(path) as tar:
        offsets = {entry.name: entry.offset_data for entry in tar}
    return [row.shifted(offsets[name]) for name, row in rows]


def _row(clip: EncodedClip, shard: str) -> ClipRow:
    """Return the row of a clip, as if its audio file were at byte 0 of the shard."""
    offset, size, encoding = locate_samples(clip.data)
    return ClipRow(
        key=clip.key,
        clip_id=clip.clip_id,
        shard=shard,
        member_offset=0,
        member_size=len(clip.data),
        data_offset=offset,
        data_size=size,
        frames=clip.frames,
        sample_rate=clip.sample_rate,
        channels=1,
        encoding=encoding,
        label=clip.label,
        sha256=hashlib.sha256(clip.data).hexdigest(),
    )


def locate_samples(data: bytes, pcm: audio.Pcm | None = None) -> tuple[int, int, str]:
    """Return offset and size, in bytes, of the audio data in an audio file, and the name of its encoding.

    In an uncompressed WAV file, the audio data is the samples, with an encoding such as "pcm16". In any other file, it
    is the whole file, with an encoding such as "flac" or "mp3".

    Pass the decoded file as `pcm` if the file may be damaged. A FLAC file that decodes to another length than its
    header states gets the encoding "flac (whole)": it must be decoded from its beginning, since seeking relies on the
    header.
    """
    wav = wav_data(data)
    if wav and (pcm is None or wav.frames == len(pcm.samples)):
        return wav.offset, wav.size, wav.encoding
    header = pcm.source if pcm else audio.info(data)
    seekable = pcm is None or (header.frames == len(pcm.samples) and not pcm.damage)
    return 0, len(data), header.format.lower() + (" (whole)" if header.format == "FLAC" and not seekable else "")
