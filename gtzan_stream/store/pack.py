"""Pack a folder of music into WebDataset shards with a manifest: find clips, label them, decode them, write shards."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from gtzan_stream import audio
from gtzan_stream.catalog import faults
from gtzan_stream.checks import checked_int
from gtzan_stream.dsp.random import hash_key
from gtzan_stream.errors import UserError
from gtzan_stream.store.groups import merge_groups
from gtzan_stream.store.issues import Issue, find_duplicates, find_issues, issue_kind
from gtzan_stream.store.keys import printable
from gtzan_stream.store.labels import sorted_labels
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.parallel import map_in_order
from gtzan_stream.store.shards import ClipRow, EncodedClip, assign_shards, write_shard
from gtzan_stream.store.splits import build_splits, find_small_labels, load_splits
from gtzan_stream.store.survey import Clip, Survey, survey
from gtzan_stream.store.swap import locked_for_packing, replace_set
from gtzan_stream.store.tables import SAMPLES, SPLITS, describe_file, write_manifest, write_samples, write_splits
from gtzan_stream.words import short_repr

OnStage = Callable[[str, int, int | None], None]
_BYTES_PER_CLIP = 2500  # approximate overhead: headers and padding of tar, WAV and JSON, and table rows


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """Options of `pack` for storing clips, checked when built; `shard_mb` is in megabytes of 10**6 bytes."""

    codec: str = "wav"
    sample_rate: int = 22050
    shard_mb: int | float = 64
    num_workers: int | None = None
    on_error: str = "skip"

    def __post_init__(self) -> None:
        if self.codec not in audio.CODECS:
            raise UserError(f"unknown codec {self.codec!r}: choose one of {', '.join(audio.CODECS)}")
        if self.on_error not in ("skip", "fail"):
            raise UserError(f"on_error must be skip or fail, got {self.on_error!r}")
        object.__setattr__(self, "sample_rate", checked_int("sample_rate", self.sample_rate, 1000, 384_000))
        if not isinstance(self.shard_mb, int | float) or not 0.001 <= self.shard_mb <= 1e6:
            raise UserError(f"shard_mb must be 0.001 to 1,000,000 megabytes, got {short_repr(self.shard_mb)}")
        if self.num_workers is not None:
            object.__setattr__(self, "num_workers", checked_int("num_workers", self.num_workers, 1))


def pack(
    src: str | Path,
    dst: str | Path,
    *,
    label_depth: int | None = None,
    labels: str | Path | None = None,
    group_by: int | str | None = None,
    splits: str | Path | Mapping[str, str | Path] | None = None,
    codec: str = "wav",
    sample_rate: int = 22050,
    shard_mb: int | float = 64,
    num_workers: int | None = None,
    on_error: str = "skip",
    name: str | None = None,
    progress: OnStage | None = None,
    announce: Callable[[Survey], None] | None = None,
) -> Manifest:
    """Pack every audio file below `src` into shards in `dst`, and replace the set that is there.

    The same input gives the same bytes for any `num_workers`. An interrupted pack leaves the old set usable.

    Parameters
    ----------
    src : folder
        ``<label>/<clip>.<ext>`` at any depth, in any format that soundfile reads; with the extra ``av`` also those that
        FFmpeg reads.
    dst : folder
        Created if needed; must not be inside `src`, nor contain it. Files in it that are not part of the old set stay.
    label_depth, labels, group_by : optional
        Level of the folders that are labels, CSV file of labels, and groups of clips that random splits keep together:
        see `gtzan_stream.store.survey.survey`.
    splits : path, or mapping from name to path, optional
        Files of ``key,part`` or ``path,part`` rows; a path alone gives a split named by its stem.
    codec : {"wav", "flac"}
    sample_rate : int
        In Hz. Mono 16-bit clips of this rate keep their samples; all others are mixed down and resampled.
    shard_mb : float
        Approximate size of a shard in megabytes.
    num_workers : int, optional
        Number of threads that decode; by default the number of usable cores.
    on_error : {"skip", "fail"}
        Whether to report and leave out clips that cannot be packed, or to stop at the first one.
    name : str, optional
        Name of the data set, with which the names of the shards begin. By default ``gtzan`` if every key is one of
        GTZAN's, else the name of `src`. Only a set named ``gtzan`` gets GTZAN's own splits and known faults.
    progress : callable (stage, done, total), optional
        Called when a stage begins and, while headers and clips are read, after each clip; the total is None for the
        other stages.
    announce : callable (survey), optional
        Called once before the first clip is packed, with the clips, labels and keys that were chosen.

    Raises
    ------
    UserError
        If an option is wrong, `src` holds nothing to pack, one of the folders is inside the other, a label or split
        file names no clip, or a clip cannot be packed and `on_error` is ``"fail"``.
    """
    options = PackOptions(
        codec=codec, sample_rate=sample_rate, shard_mb=shard_mb, num_workers=num_workers, on_error=on_error
    )
    refuse_overlap(src, dst)
    on_stage = progress or (lambda stage, done, total: None)
    on_stage("looking for audio", 0, None)
    found = survey(src, label_depth=label_depth, labels=labels, group_by=group_by)
    file_splits = load_splits(splits, found.lookup)
    if found.folder_split and "folders" in file_splits:
        raise UserError(f"the folders of {src} make a split named folders: rename the split file of that name")
    dataset = _dataset_name(name, Path(src), found.clips)
    if announce:
        announce(found)
    with locked_for_packing(Path(dst)):
        packer = _Packer(options, dataset, found.clips, on_stage)
        with replace_set(Path(dst), packer.n_bytes) as folder:
            rows = packer.write(folder)
            on_stage("writing tables", 0, None)
            digests = {row.key: row.sha256 for row in rows}  # one codec and rate: equal samples are equal files
            if not rows:
                first = min(packer.report, key=Issue.sort_key)
                raise UserError(
                    f"none of the {len(found.clips)} files in {src} could be packed: {first.source}, {first.detail}"
                )
            label_of, sources = {row.key: row.label for row in rows}, {clip.key: clip.name for clip in found.clips}
            groups = merge_groups(digests, found.groups)
            named_splits, split_issues = build_splits(
                rows, file_splits, groups=groups, is_gtzan=dataset == "gtzan", folder_split=found.folder_split
            )
            report = found.report + packer.report + find_duplicates(label_of, digests, sources)
            report += split_issues + find_small_labels(label_of, groups)
            write_samples(folder / SAMPLES, rows)
            counts = write_splits(folder / SPLITS, [row.key for row in rows], named_splits)
            write_manifest(
                folder,
                origin="pack",
                dataset=dataset,
                sample_rate=options.sample_rate,
                labels=sorted_labels(row.label for row in rows),
                shards=[describe_file(folder / name) for name in dict.fromkeys(row.shard for row in rows)],
                clips=len(rows),
                splits=counts,
                left_out=found.n_files - len(rows),
                report=report,
            )
            on_stage("moving the set into place", 0, None)
    return Manifest.open(dst)


def refuse_overlap(src: str | Path, dst: str | Path) -> None:
    """Raise UserError if the folders of shards and music are the same, or one is inside the other."""
    music, shards = Path(src).resolve(), Path(dst).resolve()
    if music == shards:
        problem = "is the folder of the music"
    elif shards.is_relative_to(music):
        problem = f"lies in {src}, the folder of the music"
    elif music.is_relative_to(shards):
        problem = f"holds {src}, the folder of the music"
    else:
        return
    raise UserError(f"{dst} {problem}: choose a folder beside it for the shards, such as {music.parent / 'shards'}")


def _dataset_name(name: str | None, src: Path, clips: list[Clip]) -> str:
    """Return the name of the data set in lower case, with hyphens for everything but letters and digits."""
    if name is None and all(clip.key in faults.CHECKSUMS for clip in clips):
        return "gtzan"
    slug = re.sub(r"[^a-z0-9]+", "-", (name or src.resolve().name).lower()).strip("-")
    return slug or "music"


_Encoded = tuple[Clip, EncodedClip | None, list[tuple[str, str]]]
"""A clip, its encoded form or None if it cannot be packed, and its issues as (kind, detail)."""


class _Packer:
    """One run of `pack`: decodes clips in threads, and writes them in an order that does not depend on the threads."""

    def __init__(self, options: PackOptions, dataset: str, clips: list[Clip], on_stage: OnStage) -> None:
        self.options, self.dataset, self.clips, self.on_stage = options, dataset, clips, on_stage
        self.sizes: list[int] = []
        for size in map_in_order(self._pcm_bytes, clips, options.num_workers):
            self.sizes.append(size)
            on_stage("reading headers", len(self.sizes), len(clips))
        self.report: list[Issue] = []

    @property
    def n_bytes(self) -> int:
        """Approximate size of the set without compression."""
        return sum(self.sizes) + _BYTES_PER_CLIP * len(self.clips)

    def write(self, folder: Path) -> list[ClipRow]:
        """Write the shards into `folder`, return their rows, and add the issues of the clips to `report`.

        Within a shard, clips are in the order of a hash of their keys, which mixes the labels.
        """
        assigned = assign_shards([clip.label for clip in self.clips], self.sizes, int(self.options.shard_mb * 1e6))
        shards = [sorted((self.clips[i] for i in shard), key=lambda clip: hash_key(clip.key)) for shard in assigned]
        results = map_in_order(self._encode, chain.from_iterable(shards), self.options.num_workers)
        encoded = self._report_issues(results)
        rows: list[ClipRow] = []
        n_written = 0
        for shard in shards:
            path = folder / f"{self.dataset}-{n_written:06d}.tar"
            shard_rows = write_shard(path, (clip for clip in islice(encoded, len(shard)) if clip))
            if shard_rows:
                rows += shard_rows
                n_written += 1
            else:  # none of its clips could be packed
                path.unlink()
        return rows

    def _pcm_bytes(self, clip: Clip) -> int:
        """Return the size of a clip as 16-bit PCM according to its header; 0 if the header cannot be read."""
        try:
            header = audio.info(clip.path)
        except (OSError, ValueError):
            return 0
        return 2 * header.frames * self.options.sample_rate // header.sample_rate

    def _encode(self, clip: Clip) -> _Encoded:
        """Decode and encode one clip, in a thread."""
        try:
            pcm = audio.decode_pcm16(clip.path, self.options.sample_rate)
            if not len(pcm.samples):
                return clip, None, [("empty", "no samples")]
            issues = find_issues(pcm)
        except (OSError, ValueError) as error:
            return clip, None, [(issue_kind(error), printable(str(error)))]
        data = audio.encode(pcm.samples, pcm.sample_rate, self.options.codec)
        encoded = EncodedClip(
            key=clip.key,
            clip_id=clip.clip_id,
            label=clip.label,
            source=clip.name,
            codec=self.options.codec,
            frames=len(pcm.samples),
            sample_rate=self.options.sample_rate,
            data=data,
        )
        return clip, encoded, issues

    def _report_issues(self, results: Iterable[_Encoded]) -> Iterator[EncodedClip | None]:
        """Yield the encoded clips, and add their issues to the report.

        Raises UserError for a clip that cannot be packed if `on_error` is "fail".
        """
        for done, (clip, encoded, issues) in enumerate(results, 1):
            if encoded is None and self.options.on_error == "fail":
                where = printable(str(clip.path))
                raise UserError(
                    f"{where} cannot be packed: {issues[0][1]}; repair or remove it, or pack with --on-error skip"
                )
            if self.dataset == "gtzan" and (fault := faults.known(clip.key)):
                issues = [*issues, ("known fault", fault)]
            self.report += [Issue(kind, clip.key, clip.name, detail) for kind, detail in issues]
            self.on_stage("packing", done, len(self.clips))
            yield encoded
