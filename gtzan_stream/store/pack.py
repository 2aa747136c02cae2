"""Pack a folder of music into WebDataset shards with a manifest: find, label, name, decode, write."""

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
from gtzan_stream.store.groups import connected
from gtzan_stream.store.issues import Issue, find_duplicates, find_issues, issue_kind
from gtzan_stream.store.keys import printable
from gtzan_stream.store.labels import sorted_labels
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.parallel import in_order
from gtzan_stream.store.shards import Member, Row, assign_shards, write_shard
from gtzan_stream.store.splits import applicable_splits, load_splits, too_few
from gtzan_stream.store.survey import Clip, Survey, survey
from gtzan_stream.store.swap import locked_for_packing, replacing
from gtzan_stream.store.tables import SAMPLES, SPLITS, describe_file, write_manifest, write_samples, write_splits
from gtzan_stream.words import short_repr

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """How clips are stored: `codec` wav or flac, `sample_rate` in Hz, `shard_mb` in megabytes of 10**6 bytes."""

    codec: str = "wav"
    sample_rate: int = 22050
    shard_mb: int | float = 64
    num_workers: int | None = None
    on_error: str = "skip"

    def __post_init__(self) -> None:
        if self.codec not in audio.CODECS:
            raise UserError(f"unknown codec {self.codec!r}: choose one of {', '.join(audio.CODECS)}")
        if self.on_error not in ("skip", "fail"):
            raise UserError(f"on_error is skip or fail, got {self.on_error!r}")
        object.__setattr__(self, "sample_rate", checked_int("sample_rate", self.sample_rate, 1000, 384_000))
        if not isinstance(self.shard_mb, int | float) or not 0.001 <= self.shard_mb <= 1e6:
            raise UserError(f"shard_mb is 0.001 to 1,000,000 megabytes, got {short_repr(self.shard_mb)}")
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
    progress: Progress | None = None,
    announce: Callable[[Survey], None] | None = None,
) -> Manifest:
    """Pack every audio file under `src` into shards in `dst`, in place of the set that is there.

    The same input makes the same bytes, whatever `num_workers` is. An interrupted pack leaves the old set usable.

    Parameters
    ----------
    src : folder
        ``<label>/<clip>.<ext>`` at any depth, in any format soundfile reads.
    dst : folder
        Made if need be; must not lie inside `src`, nor contain it. Files in it that are no part of the old set stay.
    label_depth, labels, group_by : optional
        Which folders are labels, a CSV file of labels, and what joins clips that a random split must not part: see
        `gtzan_stream.store.survey.survey`.
    splits : path, or paths by name, optional
        Files of ``key,part`` or ``path,part`` rows; a path alone gives a split named by its stem.
    codec : {"wav", "flac"}
    sample_rate : int
        In Hz. Mono 16-bit clips that have it keep their samples; all others are mixed down and resampled.
    shard_mb : float
        Megabytes a shard should have, at most.
    num_workers : int, optional
        Threads that decode; the usable cores by default.
    on_error : {"skip", "fail"}
        Whether clips that cannot be packed are reported and left out, or end the packing.
    name : str, optional
        Name of the data set and head of the shards' names. By default ``gtzan`` if every key is one of GTZAN's, else
        that of `src`. GTZAN's own splits and faults apply to the name ``gtzan`` alone.
    progress : callable (done, total), optional
        Called after each clip.
    announce : callable (survey), optional
        Called once before the first clip, with the clips, labels and keys that were chosen.

    Raises
    ------
    UserError
        If an option is wrong, `src` holds nothing to pack, one of the folders is in the other, a file of labels or of a
        split names no clip, or a clip fails and `on_error` is ``"fail"``.
    """
    options = PackOptions(
        codec=codec, sample_rate=sample_rate, shard_mb=shard_mb, num_workers=num_workers, on_error=on_error
    )
    refuse_overlap(src, dst)
    found = survey(src, label_depth=label_depth, labels=labels, group_by=group_by)
    extra = load_splits(splits, found.lookup)
    if found.folders and "folders" in extra:
        raise UserError(f"the folders of {src} make a split named folders: rename the split file of that name")
    dataset = _dataset_name(name, Path(src), found.clips)
    if announce:
        announce(found)
    with locked_for_packing(Path(dst)):
        packer = _Packer(options, dataset, found.clips, progress or (lambda done, total: None))
        with replacing(Path(dst), packer.n_bytes) as folder:
            rows = packer.write(folder)
            digests = {row.key: row.sha256 for row in rows}
            if not rows:
                first = min(packer.report, key=Issue.rank)
                raise UserError(
                    f"none of the {len(found.clips)} files in {src} could be packed: {first.source}, {first.detail}"
                )
            label_of, sources = {row.key: row.label for row in rows}, {clip.key: clip.name for clip in found.clips}
            together = connected(digests, found.groups)
            divided, split_report = applicable_splits(
                rows, extra, digests=together, is_gtzan=dataset == "gtzan", folders=found.folders
            )
            report = (
                packer.report + find_duplicates(label_of, digests, sources) + split_report + too_few(label_of, together)
            )
            write_samples(folder / SAMPLES, rows)
            counts = write_splits(folder / SPLITS, [row.key for row in rows], divided)
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
                report=found.report + report,
            )
    return Manifest.open(dst)


def refuse_overlap(src: str | Path, dst: str | Path) -> None:
    """Raise UserError if the folder of the shards is that of the music, is in it, or holds it."""
    music, shards = Path(src).resolve(), Path(dst).resolve()
    if music == shards:
        how = "is the folder of the music"
    elif shards.is_relative_to(music):
        how = f"lies in {src}, the folder of the music"
    elif music.is_relative_to(shards):
        how = f"holds {src}, the folder of the music"
    else:
        return
    raise UserError(f"{dst} {how}: choose a folder beside it for the shards, such as {music.parent / 'shards'}")


def _dataset_name(name: str | None, src: Path, clips: list[Clip]) -> str:
    if name is None and all(clip.key in faults.CHECKSUMS for clip in clips):
        return "gtzan"
    slug = re.sub(r"[^a-z0-9]+", "-", (name or src.resolve().name).lower()).strip("-")
    return slug or "music"


class _Packer:
    """One run of `pack`: decodes clips in threads and writes them, in an order fixed beforehand."""

    def __init__(self, options: PackOptions, dataset: str, clips: list[Clip], progress: Progress) -> None:
        self.options, self.dataset, self.clips, self.progress = options, dataset, clips, progress
        self.sizes = list(in_order(self._expected_bytes, clips, options.num_workers))
        self.report: list[Issue] = []

    @property
    def n_bytes(self) -> int:
        """About how much will be written, if it is not compressed."""
        return sum(self.sizes) + 2500 * len(self.clips)  # headers and padding of tar, WAV and JSON, and table rows

    def write(self, folder: Path) -> list[Row]:
        """Write the shards into `folder`; `report` then holds what was odd."""
        dealt = assign_shards([clip.label for clip in self.clips], self.sizes, int(self.options.shard_mb * 1e6))
        shards = [sorted((self.clips[i] for i in shard), key=lambda clip: hash_key(clip.key)) for shard in dealt]
        encoded = self._collect(in_order(self._encode, chain.from_iterable(shards), self.options.num_workers))
        rows: list[Row] = []
        number = 0
        for shard in shards:
            path = folder / f"{self.dataset}-{number:06d}.tar"
            written = write_shard(path, (member for member in islice(encoded, len(shard)) if member))
            if written:
                rows += written
                number += 1
            else:
                path.unlink()
        return rows

    def _expected_bytes(self, clip: Clip) -> int:
        """Size of the clip as 16-bit PCM, going by its header; 0 if it has none."""
        try:
            header = audio.info(clip.path)
        except (OSError, ValueError):
            return 0
        return 2 * header.frames * self.options.sample_rate // header.sample_rate

    def _encode(self, clip: Clip) -> tuple[Clip, Member | None, list[tuple[str, str]]]:
        """Decode and encode one clip, in a thread; with what is odd about it."""
        try:
            pcm = audio.decode_pcm16(clip.path, self.options.sample_rate)
            if not len(pcm.samples):
                return clip, None, [("empty", "no samples")]
            odd = find_issues(pcm)
        except (OSError, ValueError) as error:
            return clip, None, [(issue_kind(error), printable(str(error)))]
        data = audio.encode(pcm.samples, pcm.sample_rate, self.options.codec)
        return clip, self._member(clip, len(pcm.samples), data), odd

    def _member(self, clip: Clip, frames: int, data: bytes) -> Member:
        return Member(
            key=clip.key,
            clip_id=clip.clip_id,
            label=clip.label,
            source=clip.name,
            codec=self.options.codec,
            frames=frames,
            sample_rate=self.options.sample_rate,
            data=data,
        )

    def _collect(self, encoded: Iterable[tuple[Clip, Member | None, list[tuple[str, str]]]]) -> Iterator[Member | None]:
        for done, (clip, member, odd) in enumerate(encoded, 1):
            if member is None and self.options.on_error == "fail":
                where = printable(str(clip.path))
                raise UserError(
                    f"{where} cannot be packed: {odd[0][1]}; repair or remove it, or pack with --on-error skip"
                )
            if self.dataset == "gtzan" and (fault := faults.known(clip.key)):
                odd = [*odd, ("known fault", fault)]
            self.report += [Issue(kind, clip.key, clip.name, detail) for kind, detail in odd]
            self.progress(done, len(self.clips))
            yield member
