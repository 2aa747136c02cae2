"""What a folder of shards holds, read by column so that a million clips open in about a second."""

import copy
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtzan_stream.errors import UserError
from gtzan_stream.store.columns import check_clips, check_offsets, check_split, codes, damaged, read_columns
from gtzan_stream.store.folder import Folder
from gtzan_stream.store.manifest_json import check_metadata, digest, parse
from gtzan_stream.store.remote import RemoteFolder, is_remote
from gtzan_stream.store.splits import too_few
from gtzan_stream.store.tables import FORMAT, FORMAT_VERSION, MANIFEST, SAMPLES, SPLITS

_SEEKABLE = r"flac|pcm\d+|float\d+"


@dataclass(frozen=True)
class Shard:
    """A tar file: name, size in bytes, and sha256 in hexadecimal."""

    name: str
    size: int
    sha256: str


class Manifest:
    """A folder of shards and what is in them. Clip number i is row i of samples.parquet, by shard, then by offset.

    Attributes
    ----------
    root : Path or str
        The folder, or its address.
    dataset : str
    sample_rate : int
        At which clips are read, in Hz.
    labels : list of str
    shards : list of Shard
    split_counts : dict
        Clips by split and part.
    tables : list of dict
        Name, size and sha256 of samples.parquet and splits.parquet.
    left_out : int
        Files with sound that could not be packed or indexed; the report says why.
    report : list of dict
        What was odd when packing: kind, key, source, detail.
    digest : str
        sha256 over format, rate, labels and the checksums of shards and tables: equal digests, equal data.
    shard, label : int32 [clip]
        Numbers into `shards` and `labels`.
    data_offset, data_size : int64 [clip]
        Where the samples lie in the shard, in bytes.
    frames, native_frames : int64 [clip]
        Samples in the clip, at `sample_rate` and at its own.
    key_hash : uint64 [clip]
    clip_rate : int64 [clip]
        The clip's own sample rate, in Hz.
    direct : bool [clip]
        Whether the samples are mono 16-bit PCM at `sample_rate`, to be read as they lie.
    seekable : bool [clip]
        Whether a segment can be read without decoding what comes before it.
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
        self.digest = digest(metadata)
        self.shard = codes(self.column("shard"), [shard.name for shard in self.shards])
        self.label = codes(self.column("label"), self.labels)
        self.data_offset = self.column("data_offset").to_numpy()
        self.data_size = self.column("data_size").to_numpy()
        self.native_frames = self.column("frames").to_numpy()
        self.key_hash = self.column("key_hash").to_numpy()
        self.clip_rate = self.column("sample_rate").to_numpy()
        encoding = self.column("encoding")
        seekable = [name for name in pc.unique(encoding).to_pylist() if re.fullmatch(_SEEKABLE, name)]
        self._seekable = codes(encoding, seekable) >= 0
        self._mono_pcm16 = (codes(encoding, ["pcm16"]) == 0) & (self.column("channels").to_numpy() == 1)
        self._check(metadata["clips"])
        self._read_at(metadata["sample_rate"])

    @classmethod
    def open(cls, root: str | Path, *, check_sizes: bool = True) -> "Manifest":
        """Open a folder of shards.

        Parameters
        ----------
        root : path, or address that fsspec knows
            Of the latter the shards come to this machine as they are needed.
        check_sizes : bool
            Whether to compare the sizes of the files in a folder of this machine with those in the manifest.

        Raises
        ------
        UserError
            If `root` is missing, empty, of another format version, or lacks one of its files, or one has another size.
        """
        folder = RemoteFolder(str(root)) if is_remote(root) else Folder(Path(root))
        metadata = _read_metadata(folder)
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
            raise ValueError("a clip has another number of samples than its bytes hold")

    def _read_at(self, sample_rate: int) -> None:
        same = self.clip_rate == sample_rate
        self.sample_rate = sample_rate
        self.frames = self.native_frames
        if not same.all():
            self.frames = (2 * self.native_frames * sample_rate + self.clip_rate) // (2 * self.clip_rate)  # rounded
        self.direct, self.seekable = self._mono_pcm16 & same, self._seekable & same

    def resampled(self, sample_rate: int) -> "Manifest":
        """The same clips, read at another sample rate, in Hz: those of other rates are decoded whole and resampled."""
        manifest = copy.copy(self)
        manifest._read_at(sample_rate)
        return manifest

    def __len__(self) -> int:
        return len(self.frames)

    def path(self, name: str) -> Path:
        """Where a shard or table is on this machine; brings it here if it is not."""
        return self.folder.path(name)

    def column(self, name: str) -> pa.ChunkedArray:
        """Read one column of samples.parquet; one at a time takes half the memory of all at once."""
        return self._read(SAMPLES, [name])[name]

    def _read(self, table: str, columns: list[str], **choice: Any) -> pa.Table:
        try:
            return read_columns(self.path(table), columns, **choice)
        finally:
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
        """Where each clip's audio file begins in its shard, in bytes: int64 [clip]."""
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
            raise damaged(self.path(SAMPLES), error) from error
        return offset, size

    def location(self, clip: int) -> str:
        """Shard and key of a clip, for messages."""
        return f"{self.folder.address(self.shards[self.shard[clip]].name)}, key {self.keys[int(clip)]}"

    def split_names(self) -> dict[str, list[str]]:
        """Parts by split."""
        return {split: list(parts) for split, parts in self.split_counts.items()}

    def part(self, split: str, part: str) -> np.ndarray:
        """Numbers of the clips in one part of a split, ascending.

        Raises
        ------
        UserError
            If there is no such split or part; lists those there are.
        """
        rows = self._rows(split)
        if part not in self.split_names()[split]:
            parts, few = ", ".join(self.split_names()[split]), self._few_clips(split)
            remedy = f"it has {parts} alone. Too few clips: {few}" if few else f"choose one of {parts}"
            raise UserError(f"the split {split} of {self.root} has no part {part!r}: {remedy}")
        return np.sort(rows.filter(pc.equal(rows["part"], part))["clip"].to_numpy())

    def _few_clips(self, split: str) -> str:
        """Why a random split lacks a part: the labels with too few clips, in words; empty if that is not why."""
        if split != "stratified" and not split.startswith("folds-"):
            return ""
        label_of = {key: self.labels[code] for key, code in zip(self.keys.to_pylist(), self.label, strict=True)}
        kinds = ("few clips", "few for folds") if split.startswith("folds-") else ("few clips",)
        few = [line["detail"] for line in self.report if line["kind"] in kinds]
        few = few or [line.detail for line in too_few(label_of, {}) if line.kind in kinds]
        return "; ".join(few[:3]) + (f"; and {len(few) - 3} labels more" if len(few) > 3 else "")

    def labels_of(self, split: str) -> list[str]:
        """Labels that occur in a split, in the order of `labels`."""
        return self._labels(self._rows(split))

    def labels_by_part(self, split: str) -> dict[str, list[str]]:
        """Labels that occur in each part of a split, in the order of `labels`."""
        rows = self._rows(split)
        return {part: self._labels(rows.filter(pc.equal(rows["part"], part))) for part in self.split_names()[split]}

    def _labels(self, rows: pa.Table) -> list[str]:
        return [self.labels[code] for code in np.unique(self.label[rows["clip"].to_numpy()])]

    def _rows(self, split: str) -> pa.Table:
        names = self.split_names()
        if split not in names:
            raise UserError(f"{self.root} has no split {split!r}: choose one of {', '.join(names)}")
        rows = self._read(SPLITS, ["part", "clip"], filters=[("split", "==", split)])
        try:
            check_split(rows, self.split_counts[split], len(self))
        except ValueError as error:
            raise damaged(self.path(SPLITS), error) from error
        return rows


def _read_metadata(folder: Folder) -> dict[str, Any]:
    address = folder.address(MANIFEST)
    try:
        data = folder.manifest().read_bytes()
        folder.remember(data)
        metadata = parse(data)
        if metadata["format"] != FORMAT or metadata["format_version"] != FORMAT_VERSION:
            raise UserError(
                f"{address} has format {metadata['format']} version {metadata['format_version']},"
                f" this is {FORMAT} version {FORMAT_VERSION}: pack the set again"
            )
        check_metadata(metadata)
    except UserError:
        raise
    except (ValueError, KeyError) as error:
        raise UserError(f"{address} is not a manifest of gtzan-stream ({error!r}): pack the set again") from None
    return metadata
