"""Scan WebDataset shards packed by any program: decode every clip, find its label, and report what is wrong.

WebDataset groups the members of a tar file by key, which is the name up to the first dot:

    train/song1.drums.wav     key train/song1, suffix drums.wav
    train/song1.vocals.wav    key train/song1, suffix vocals.wav
    train/song1.cls           key train/song1, suffix cls

The members of a key are one WebDataset sample. If it has one audio member, it is a clip with this key. Audio members
with names that differ before the extension, as here, are clips of their own: train/song1_drums and train/song1_vocals,
with the label of their WebDataset sample. GTZAN is such a case: all clips of a genre (blues.00000.wav, ...) share the
key blues. Audio members that differ in the extension only, such as song.wav and song.mp3, have one key: the first is
the clip, and the others are left out and reported as duplicate keys.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from gtzan_stream import audio
from gtzan_stream.store.issues import Issue, find_issues, issue_kind
from gtzan_stream.store.keys import printable
from gtzan_stream.store.parallel import map_in_order
from gtzan_stream.store.shards import ClipRow, locate_samples
from gtzan_stream.store.tar import TarMember, list_members
from gtzan_stream.words import count, first_few

_LABEL_SUFFIXES = ("json", "cls", "txt")
_MAX_LABEL_LENGTH = 1000


@dataclass
class ShardScan:
    """The content of shards.

    Attributes
    ----------
    rows : list of ClipRow
        A row for each clip, sorted by shard, then by offset.
    digests : dict
        Checksum of each clip's decoded samples, by key; clips with equal checksums are the same recording.
    report : list of Issue
    n_left_out : int
        Number of audio members without a row, plus one for each stretch of a shard that cannot be read.
    """

    rows: list[ClipRow] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    report: list[Issue] = field(default_factory=list)
    n_left_out: int = 0


@dataclass
class _WebDatasetSample:
    """The members of one WebDataset key.

    `audio_members` are pairs of infix and member: the infix is the part of the name between the key and the extension,
    such as "drums" in song1.drums.wav, mostly empty. `label_members` may hold the label, by extension.
    """

    key: str
    audio_members: list[tuple[str, TarMember]] = field(default_factory=list)
    label_members: dict[str, TarMember] = field(default_factory=dict)


@dataclass(frozen=True)
class _AudioMember:
    """A member to decode, with its shard, the key of its clip and its WebDataset sample."""

    shard: Path
    key: str
    member: TarMember
    wds_sample: _WebDatasetSample


@dataclass(frozen=True)
class _DecodedMember:
    """A decoded member: its row (None if it cannot be used), checksum of samples, and issues as (kind, detail)."""

    key: str
    row: ClipRow | None
    digest: str
    issues: list[tuple[str, str]]


def scan_shards(
    paths: Sequence[Path], *, num_workers: int | None = None, progress: Callable[[int, int], None] | None = None
) -> ShardScan:
    """Decode every clip of the shards to its end, in threads.

    Parameters
    ----------
    paths : sequence of Path
    num_workers : int, optional
        Number of threads that decode; by default the number of usable cores.
    progress : callable (done, total), optional
        Called with the number of bytes of the shards.
    """
    found = ShardScan()
    *starts, total = accumulate((path.stat().st_size for path in paths), initial=0)
    bytes_before = dict(zip(paths, starts, strict=True))
    pending: deque[_AudioMember] = deque()  # being decoded, in order

    def jobs() -> Iterator[_AudioMember]:
        for path in paths:
            for audio_member in _audio_members(path, found.report):
                pending.append(audio_member)
                yield audio_member

    shard_of: dict[str, str] = {}
    for decoded in map_in_order(_decode, jobs(), num_workers):
        audio_member = pending.popleft()
        shard, key, issues = audio_member.shard.name, decoded.key, decoded.issues
        is_duplicate = decoded.row is not None and key in shard_of
        if is_duplicate:
            detail = f"{shard_of[key]} holds a clip of this key already: this one is left out"
            issues = [*issues, ("duplicate key", detail)]
        elif decoded.row:
            shard_of[key] = shard
            found.rows.append(decoded.row)
            found.digests[key] = decoded.digest
        if is_duplicate or not decoded.row:
            found.n_left_out += 1
        found.report += [Issue(kind, key, shard, detail) for kind, detail in issues]
        if progress:
            member = audio_member.member
            progress(bytes_before[audio_member.shard] + member.offset + member.size, total)
    found.n_left_out += sum(issue.kind in ("damaged", "hidden") for issue in found.report)
    return found


def _audio_members(path: Path, report: list[Issue]) -> Iterator[_AudioMember]:
    """Yield the audio members of a shard with the keys of their clips."""
    wds_samples = _webdataset_samples(path, report)
    without_audio = [wds_sample.key for wds_sample in wds_samples if not wds_sample.audio_members]
    if without_audio:
        detail = f"{count(len(without_audio), 'WebDataset sample')} without audio: {first_few(without_audio, 3)}"
        report.append(Issue("no sound", "", path.name, detail))
    for wds_sample in wds_samples:
        infixes = {infix for infix, _ in wds_sample.audio_members}
        if len(infixes) > 1:
            detail = (
                f"{len(infixes)} audio files with this key, because WebDataset ends a key at the first dot of a name: "
                "each is indexed as a clip, but other programs see one WebDataset sample; rename them without dots"
            )
            report.append(Issue("dots", wds_sample.key, path.name, detail))
        for infix, member in wds_sample.audio_members:
            is_infix_needed = len(infixes) > 1 and infix
            key = f"{wds_sample.key}_{infix.replace('.', '_')}" if is_infix_needed else wds_sample.key
            yield _AudioMember(path, key, member, wds_sample)


def _webdataset_samples(path: Path, report: list[Issue]) -> list[_WebDatasetSample]:
    """Group the members of a shard by key, and report the keys with members that are not adjacent."""
    wds_samples: dict[str, _WebDatasetSample] = {}
    last_key, scattered = None, set()
    for member in list_members(path, lambda kind, detail: report.append(Issue(kind, "", path.name, detail))):
        folder, _, name = printable(member.name).rpartition("/")
        stem, _, suffix = name.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        infix, _, extension = suffix.rpartition(".")
        extension = extension.lower()
        if not stem:
            if not name.startswith("._") and f".{extension}" in audio.SUFFIXES:
                detail = "left out: its name begins with a dot, so WebDataset gives it no key; rename it"
                report.append(Issue("hidden", "", path.name, f"{printable(member.name)}: {detail}"))
            continue
        if key != last_key and key in wds_samples:
            scattered.add(key)
        wds_sample, last_key = wds_samples.setdefault(key, _WebDatasetSample(key)), key
        if f".{extension}" in audio.SUFFIXES:
            wds_sample.audio_members.append((infix, member))
        elif extension in _LABEL_SUFFIXES:
            wds_sample.label_members[extension] = member
    for key in sorted(scattered):
        detail = "its members are not adjacent: other programs see several WebDataset samples; pack the shard again"
        report.append(Issue("scattered", key, path.name, detail))
    return list(wds_samples.values())


def _decode(audio_member: _AudioMember) -> _DecodedMember:
    """Decode a member to its end, in a thread."""
    key, problem = audio_member.key, audio_member.member.problem
    try:
        label = _label(audio_member)
        if problem:
            raise ValueError(problem)
        data = _read(audio_member.shard, audio_member.member)
        pcm = audio.decode_pcm16(data)
        if not len(pcm.samples):
            return _DecodedMember(key, None, "", [("empty", "no samples")])
        row = _row(audio_member, data, pcm, label)
    except _NoLabel as error:
        return _DecodedMember(key, None, "", [("no label", str(error))])
    except (OSError, ValueError) as error:
        kind = "truncated" if problem else issue_kind(error)
        return _DecodedMember(key, None, "", [(kind, str(error))])
    digest = hashlib.sha256(pcm.samples.tobytes() + str(pcm.sample_rate).encode()).hexdigest()
    return _DecodedMember(key, row, digest, find_issues(pcm))


def _read(path: Path, member: TarMember) -> bytes:
    with path.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size)


def _row(audio_member: _AudioMember, data: bytes, pcm: audio.Pcm, label: str) -> ClipRow:
    data_offset, data_size, encoding = locate_samples(data, pcm)
    return ClipRow(
        key=audio_member.key,
        clip_id=audio_member.key,
        shard=audio_member.shard.name,
        member_offset=audio_member.member.offset,
        member_size=len(data),
        data_offset=audio_member.member.offset + data_offset,
        data_size=data_size,
        frames=len(pcm.samples),
        sample_rate=pcm.sample_rate,
        channels=pcm.source.channels,
        encoding=encoding,
        label=label,
        sha256=hashlib.sha256(data).hexdigest(),
    )


class _NoLabel(ValueError):
    """A WebDataset sample without a label, or with a label of a wrong type."""


def _label(audio_member: _AudioMember) -> str:
    """Return the label of a clip: from the .json, .cls or .txt of its WebDataset sample, else from its key."""
    label_members = audio_member.wds_sample.label_members.items()
    contents = {suffix: _read(audio_member.shard, member) for suffix, member in label_members if not member.problem}
    try:
        metadata = json.loads(contents.get("json", b"{}"))
    except RecursionError:
        raise _NoLabel("its .json cannot be read: it is nested too deeply") from None
    except ValueError as error:
        raise _NoLabel(f"its .json cannot be read: {error}") from None
    candidates = [
        (f"{name} in its .json", metadata.get(name)) for name in ("label", "genre") if isinstance(metadata, dict)
    ]
    suffixes = [suffix for suffix in ("cls", "txt") if suffix in contents]
    candidates += [(f".{suffix}", contents[suffix].decode("utf-8", errors="replace").strip()) for suffix in suffixes]
    for where, value in candidates:
        if value is None or value == "":
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise _NoLabel(f"the {where} is a {type(value).__name__}: expected a word or a number")
        if len(label := str(value)) > _MAX_LABEL_LENGTH or "\n" in label:
            raise _NoLabel(f"the {where} is a text of {len(label)} characters: expected a word or a number")
        return printable(label)
    head, underscore, _ = audio_member.key.rpartition("/")[2].partition("_")
    if not underscore or not head:
        raise _NoLabel("expected label or genre in its .json, a .cls or .txt, or <label>_<name> as key")
    return head
