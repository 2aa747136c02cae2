"""Open a set of shards. Its clips are kept as whole columns, not as objects, so that a million clips open quickly."""

import copy
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtzan_stream.download.attempts import DownloadError
from gtzan_stream.errors import UserError
from gtzan_stream.store.columns import (
    categorical_codes,
    check_clips,
    check_offsets,
    check_split,
    damaged_table,
    read_columns,
)
from gtzan_stream.store.folder import Folder
from gtzan_stream.store.manifest_json import load_metadata, manifest_digest
from gtzan_stream.store.remote import RemoteFolder, is_remote
from gtzan_stream.store.splits import describe_small_labels
from gtzan_stream.store.tables import MANIFEST, SAMPLES, SPLITS

_SEEKABLE = r"flac|pcm\d+|float\d+"  # encodings in which decoding can start at any sample


@dataclass(frozen=True)
class Shard:
    """A tar file of the set: name, size in bytes, and sha256 in hexadecimal."""

    name: str
    size: int
    sha256: str


class Manifest:
    """A set of shards and its tables. Clip number i is row i of samples.parquet, sorted by shard, then by offset.

    Attributes
    ----------
    root : Path or str
        Folder of the set, or its address.
    dataset : str
    sample_rate : int
        Rate in Hz at which clips are read.
    labels : list of str
    shards : list of Shard
    split_counts : dict
        Number of clips by split and part.
    tables : list of dict
        Name, size and sha256 of samples.parquet and splits.parquet.
    left_out : int
        Number of audio files that could not be packed or indexed, for the reasons in the report.
    report : list of dict
        Issues found when packing, each with kind, key, source and detail.
    digest : str
        sha256 over format version, sample rate, labels and the checksums of shards and tables. Equal digests mean equal
        data.
    shard, label : int32 [clip]
        Indices into `shards` and `labels`.
    data_offset, data_size : int64 [clip]
        Position and size of the audio data in the shard, in bytes.
    frames, native_frames : int64 [clip]
        Number of samples, at `sample_rate` and at the clip's own rate.
    key_hash : uint64 [clip]
    clip_rate : int64 [clip]
        The clip's own sample rate, in Hz.
    direct : bool [clip]
        Whether the audio data are mono 16-bit PCM at `sample_rate`, which is read without decoding.
    seekable : bool [clip]
        Whether a segment can be decoded without decoding everything before it.
    """

    def __init__(self, folder: Folder, metadata: dict[str, Any]) -> None:
        self.folder = folder
        self.root = folder.root
        self.format_version: int = metadata["format_version"]
        self.dataset: str = metadata["dataset"]
        self.labels: list[str] = metadata["labels"]
        self.shards = [Shard(shard["name"], shard["size"], shard["sha256"]) for shard in metadata["shards"]]
        self.split_counts: dict[str, dict[str, int]] = metadata["splits"]
        self.tables: list[dict[str, Any]] = metadata["tables"]
        self.left_out: int = metadata.get("left_out", 0)
        self.report: list[dict[str, str]] = metadata["report"]
        self.digest = manifest_digest(metadata)
        self.shard = categorical_codes(self.column("shard"), [shard.name for shard in self.shards])
        self.label = categorical_codes(self.column("label"), self.labels)
        self.data_offset = self.column("data_offset").to_numpy()
        self.data_size = self.column("data_size").to_numpy()
        self.native_frames = self.column("frames").to_numpy()
        self.key_hash = self.column("key_hash").to_numpy()
        self.clip_rate = self.column("sample_rate").to_numpy()
        encoding = self.column("encoding")
        seekable = [name for name in pc.unique(encoding).to_pylist() if re.fullmatch(_SEEKABLE, name)]
        self._seekable = categorical_codes(encoding, seekable) >= 0
        self._mono_pcm16 = (categorical_codes(encoding, ["pcm16"]) == 0) & (self.column("channels").to_numpy() == 1)
        self._check(metadata["clips"])
        self._set_sample_rate(metadata["sample_rate"])

    @classmethod
    def open(cls, root: str | Path | Folder, *, check_sizes: bool = True) -> "Manifest":
        """Open a folder of shards.

        Parameters
        ----------
        root : path of a local folder, address that fsspec knows, or Folder
            The shards at an address are downloaded when they are needed.
        check_sizes : bool
            Whether to compare the sizes of local files with those in the manifest.

        Raises
        ------
        UserError
            If `root` or one of its files is missing, a file has a wrong size or content, or the format version differs.
        """
        if not isinstance(root, Folder):
            root = RemoteFolder(str(root)) if is_remote(root) else Folder(Path(root))
        folder = root
        content = folder.manifest_path().read_bytes()
        folder.record_manifest(content)
        metadata = load_metadata(content, folder.address(MANIFEST))
        folder.register_files(metadata["shards"] + metadata["tables"], check_sizes=check_sizes)
        try:
            return cls(folder, metadata)
        except UserError:
            raise
        except (pa.ArrowException, KeyError, IndexError, TypeError, ValueError) as error:
            raise UserError(
                f"{folder.address(SAMPLES)} or {MANIFEST} cannot be read ({error}): copy or pack the set again"
            ) from error

    def _check(self, n_clips: int) -> None:
        """Raise ValueError if the columns disagree with each other or with manifest.json."""
        if len(self.shard) != n_clips:
            raise ValueError(f"there are {len(self.shard)} clips, {MANIFEST} says {n_clips}")
        check_clips(self.shard, self.label, self.native_frames, self.clip_rate)
        check_offsets(self.data_offset, self.data_size, self.shard, [shard.size for shard in self.shards])
        if (self._mono_pcm16 & (self.data_size // 2 != self.native_frames)).any():
            raise ValueError("a clip's number of samples does not match the size of its data")

    def _set_sample_rate(self, sample_rate: int) -> None:
        """Set the rate at which clips are read, and what depends on it.

        A clip of another rate has round(native_frames * sample_rate / clip_rate) samples, computed in integers as
        floor(x / y + 1/2) = (2 x + y) // (2 y).
        """
        has_rate = self.clip_rate == sample_rate
        self.sample_rate = sample_rate
        self.frames = self.native_frames
        if not has_rate.all():
            self.frames = (2 * self.native_frames * sample_rate + self.clip_rate) // (2 * self.clip_rate)
        self.direct, self.seekable = self._mono_pcm16 & has_rate, self._seekable & has_rate

    def resampled(self, sample_rate: int) -> "Manifest":
        """Return a manifest of the same clips, read at another sample rate in Hz.

        Clips of other rates are decoded whole and resampled.
        """
        manifest = copy.copy(self)
        manifest._set_sample_rate(sample_rate)
        return manifest

    def __len__(self) -> int:
        return len(self.frames)

    def path(self, name: str) -> Path:
        """Return the local path of a shard or table; download it first if it is remote."""
        return self.folder.path(name)

    def column(self, name: str) -> pa.ChunkedArray:
        """Read one column of samples.parquet. Reading them one at a time takes half the memory of all at once."""
        return self._read(SAMPLES, [name])[name]

    def _read(self, table: str, columns: list[str], **options: Any) -> pa.Table:
        try:
            return read_columns(self.path(table), columns, **options)
        except DownloadError as error:
            raise UserError(str(error)) from error
        finally:  # after an error too: the likely cause is that the set was packed again
            self.folder.check_unchanged()

    @cached_property
    def keys(self) -> pa.ChunkedArray:
        """Key of each clip."""
        return self.column("key")

    @cached_property
    def sha256(self) -> pa.ChunkedArray:
        """sha256 of each clip's audio file, in hexadecimal."""
        return self.column("sha256")

    @cached_property
    def member_offset(self) -> np.ndarray:
        """Offset of each clip's audio file in its shard, in bytes: int64 [clip]."""
        return self._members[0]

    @cached_property
    def member_size(self) -> np.ndarray:
        """Size of each clip's audio file in bytes: int64 [clip]."""
        return self._members[1]

    @cached_property
    def _members(self) -> tuple[np.ndarray, np.ndarray]:
        offset, size = self.column("member_offset").to_numpy(), self.column("member_size").to_numpy()
        try:
            check_offsets(offset, size, self.shard, [shard.size for shard in self.shards])
        except ValueError as error:
            raise damaged_table(self.path(SAMPLES), error) from error
        return offset, size

    def location(self, clip: int) -> str:
        """Return shard and key of a clip, for messages."""
        return f"{self.folder.address(self.shards[self.shard[clip]].name)}, key {self.keys[int(clip)]}"

    def parts_by_split(self) -> dict[str, list[str]]:
        """Return the parts of each split."""
        return {split: list(parts) for split, parts in self.split_counts.items()}

    def part(self, split: str, part: str) -> np.ndarray:
        """Return the numbers of the clips in one part of a split, ascending.

        Raises
        ------
        UserError
            If there is no such split or part; the message lists the existing ones.
        """
        rows = self._split_rows(split)
        if part not in self.parts_by_split()[split]:
            parts, few = ", ".join(self.parts_by_split()[split]), self._small_labels(split)
            remedy = f"it only has {parts}. Too few clips: {few}" if few else f"choose one of {parts}"
            raise UserError(f"the split {split} of {self.root} has no part {part!r}: {remedy}")
        return np.sort(rows.filter(pc.equal(rows["part"], part))["clip"].to_numpy())

    def _small_labels(self, split: str) -> str:
        label_of = {key: self.labels[code] for key, code in zip(self.keys.to_pylist(), self.label, strict=True)}
        return describe_small_labels(split, self.report, label_of)

    def labels_of(self, split: str) -> list[str]:
        """Return the labels that occur in a split, in the order of `labels`."""
        return self._labels_in(self._split_rows(split))

    def labels_by_part(self, split: str) -> dict[str, list[str]]:
        """Return the labels that occur in each part of a split, in the order of `labels`."""
        rows = self._split_rows(split)
        return {
            part: self._labels_in(rows.filter(pc.equal(rows["part"], part))) for part in self.parts_by_split()[split]
        }

    def _labels_in(self, rows: pa.Table) -> list[str]:
        return [self.labels[code] for code in np.unique(self.label[rows["clip"].to_numpy()])]

    def _split_rows(self, split: str) -> pa.Table:
        """Read the parts and clips of one split. Raises UserError if there is no such split, or its rows are wrong."""
        names = self.parts_by_split()
        if split not in names:
            raise UserError(f"{self.root} has no split {split!r}: choose one of {', '.join(names)}")
        rows = self._read(SPLITS, ["part", "clip"], filters=[("split", "==", split)])
        try:
            check_split(split, rows, self.split_counts[split], len(self))
        except ValueError as error:
            raise damaged_table(self.path(SPLITS), error) from error
        return rows
