"""Read the samples of WebDataset shards, whoever packed them: clips, their labels, and all that is wrong with them."""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from gtzan_stream import audio
from gtzan_stream.store.issues import Issue, find_issues, issue_kind
from gtzan_stream.store.keys import printable
from gtzan_stream.store.parallel import in_order
from gtzan_stream.store.shards import Row, data_location
from gtzan_stream.store.tar import TarMember, members
from gtzan_stream.words import count, first_few

_SAYS_LABEL = ("json", "cls", "txt")
_LONGEST_LABEL = 1000


@dataclass
class Scan:
    """What shards hold.

    Attributes
    ----------
    rows : list of Row
        A row a clip, by shard, then by offset.
    digests : dict
        Checksum of each clip's decoded samples, by key: equal ones are equal recordings.
    report : list of Issue
    left_out : int
        Files with sound that are not among the rows; one for each stretch of a shard that cannot be read.
    """

    rows: list[Row] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    report: list[Issue] = field(default_factory=list)
    left_out: int = 0


@dataclass
class _Sample:
    """The members of one WebDataset key: its sound, by the middle of the name, and what may say its label."""

    key: str
    sounds: list[tuple[str, TarMember]] = field(default_factory=list)
    says: dict[str, TarMember] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sound:
    """A member to decode, with the key of its clip and the sample that it belongs to."""

    path: Path
    key: str
    member: TarMember
    sample: _Sample


@dataclass(frozen=True)
class _Decoded:
    """A member that was decoded: its row and checksum, if it can be used, and what is odd about it."""

    key: str
    row: Row | None
    digest: str
    odd: list[tuple[str, str]]


def scan(
    paths: Sequence[Path], *, num_workers: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Scan:
    """Read every sample of the shards to its end, in threads.

    Parameters
    ----------
    paths : sequence of Path
    num_workers : int, optional
        Threads that decode; the usable cores by default.
    progress : callable (done, total), optional
        Called with bytes of the shards.
    """
    found = Scan()
    *starts, total = accumulate((path.stat().st_size for path in paths), initial=0)
    before = dict(zip(paths, starts, strict=True))
    waiting: deque[_Sound] = deque()

    def jobs() -> Iterator[_Sound]:
        for path in paths:
            for sound in _sounds(path, found.report):
                waiting.append(sound)
                yield sound

    shard_of: dict[str, str] = {}
    for decoded in in_order(_decode, jobs(), num_workers):
        sound = waiting.popleft()
        shard, key, odd = sound.path.name, decoded.key, decoded.odd
        if decoded.row and key in shard_of:
            odd = [*odd, ("duplicate key", f"{shard_of[key]} holds a clip of this key already: this one is left out")]
        elif decoded.row:
            shard_of[key] = shard
            found.rows.append(decoded.row)
            found.digests[key] = decoded.digest
        if not decoded.row or decoded.row is not found.rows[-1]:
            found.left_out += 1
        found.report += [Issue(kind, key, shard, detail) for kind, detail in odd]
        if progress:
            progress(before[sound.path] + sound.member.offset + sound.member.size, total)
    found.left_out += sum(line.kind in ("damaged", "hidden") for line in found.report)
    return found


def _sounds(path: Path, report: list[Issue]) -> Iterator[_Sound]:
    """The sounds of a shard, in order, each with the key of its clip."""
    samples = _samples(path, report)
    without = [sample.key for sample in samples if not sample.sounds]
    if without:
        detail = f"{count(len(without), 'sample')} without sound: {first_few(without, 3)}"
        report.append(Issue("no sound", "", path.name, detail))
    for sample in samples:
        names = Counter(middle for middle, _ in sample.sounds)
        if len(names) > 1:
            detail = (
                f"{len(names)} sounds whose names differ behind a dot, where WebDataset ends a key: indexed as one "
            )
            detail += "clip each, but other programs see one sample; rename them without dots to mend that"
            report.append(Issue("dots", sample.key, path.name, detail))
        for middle, member in sample.sounds:
            key = f"{sample.key}_{middle.replace('.', '_')}" if len(names) > 1 and middle else sample.key
            yield _Sound(path, key, member, sample)


def _samples(path: Path, report: list[Issue]) -> list[_Sample]:
    """Group a shard's members by key; a sample whose members do not lie side by side is put together, and reported."""
    samples: dict[str, _Sample] = {}
    last, scattered = None, set()
    for member in members(path, lambda kind, detail: report.append(Issue(kind, "", path.name, detail))):
        folder, _, name = printable(member.name).rpartition("/")
        stem, _, suffix = name.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        middle, _, kind = suffix.rpartition(".")
        kind = kind.lower()
        if not stem:
            if not name.startswith("._") and f".{kind}" in audio.SUFFIXES:
                detail = "left out: its name begins with a dot, so WebDataset gives it no key; rename it"
                report.append(Issue("hidden", "", path.name, f"{printable(member.name)}: {detail}"))
            continue
        if key != last and key in samples:
            scattered.add(key)
        sample, last = samples.setdefault(key, _Sample(key)), key
        if f".{kind}" in audio.SUFFIXES:
            sample.sounds.append((middle, member))
        elif kind in _SAYS_LABEL:
            sample.says[kind] = member
    for key in sorted(scattered):
        detail = "its members do not lie side by side: other programs see several samples; pack the shard again"
        report.append(Issue("scattered", key, path.name, detail))
    return list(samples.values())


def _decode(sound: _Sound) -> _Decoded:
    """Decode a member to its end, in a thread."""
    try:
        label = _label(sound)
        if sound.member.reason:
            raise ValueError(sound.member.reason)
        data = _read(sound.path, sound.member)
        pcm = audio.decode_pcm16(data)
        if not len(pcm.samples):
            return _Decoded(sound.key, None, "", [("empty", "no samples")])
        row = _row(sound, data, pcm, label)
    except _NoLabel as error:
        return _Decoded(sound.key, None, "", [("no label", str(error))])
    except (OSError, ValueError) as error:
        kind = "truncated" if sound.member.reason else issue_kind(error)
        return _Decoded(sound.key, None, "", [(kind, str(error))])
    digest = hashlib.sha256(pcm.samples.tobytes() + str(pcm.sample_rate).encode()).hexdigest()
    return _Decoded(sound.key, row, digest, find_issues(pcm))


def _read(path: Path, member: TarMember) -> bytes:
    with path.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size)


def _row(sound: _Sound, data: bytes, pcm: audio.Pcm, label: str) -> Row:
    data_offset, data_size, encoding = data_location(data, pcm)
    return Row(
        key=sound.key,
        clip_id=sound.key,
        shard=sound.path.name,
        member_offset=sound.member.offset,
        member_size=len(data),
        data_offset=sound.member.offset + data_offset,
        data_size=data_size,
        frames=len(pcm.samples),
        sample_rate=pcm.sample_rate,
        channels=pcm.source.channels,
        encoding=encoding,
        label=label,
        sha256=hashlib.sha256(data).hexdigest(),
    )


class _NoLabel(ValueError):
    """A sample without a label, or with one of a wrong type."""


def _label(sound: _Sound) -> str:
    """Label of a sample, by its members or its key."""
    says = {kind: _read(sound.path, member) for kind, member in sound.sample.says.items() if not member.reason}
    try:
        metadata = json.loads(says.get("json", b"{}"))
    except RecursionError:
        raise _NoLabel("its .json cannot be read: it is nested too deeply") from None
    except ValueError as error:
        raise _NoLabel(f"its .json cannot be read: {error}") from None
    candidates = [
        (f"{name} in its .json", metadata.get(name)) for name in ("label", "genre") if isinstance(metadata, dict)
    ]
    texts = [kind for kind in ("cls", "txt") if kind in says]
    candidates += [(f".{kind}", says[kind].decode("utf-8", errors="replace").strip()) for kind in texts]
    for where, value in candidates:
        if value is None or value == "":
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise _NoLabel(f"the {where} is a {type(value).__name__}: expected a word or a number")
        if len(label := str(value)) > _LONGEST_LABEL or "\n" in label:
            raise _NoLabel(f"the {where} is a text of {len(label)} characters: expected a word or a number")
        return printable(label)
    head, underscore, _ = sound.key.rpartition("/")[2].partition("_")
    if not underscore or not head:
        raise _NoLabel("expected label or genre in its .json, a .cls or .txt, or <label>_<name> as key")
    return head
