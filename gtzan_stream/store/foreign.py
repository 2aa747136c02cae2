"""Read the samples of a WebDataset shard that somebody else packed."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gtzan_stream import audio
from gtzan_stream.store.check import Oddity
from gtzan_stream.store.scan import READ
from gtzan_stream.store.shards import Row, layout


@dataclass
class _Sample:
    """The members of one key, as they come by: the audio's row without its label, and what says the label."""

    row: Row | None = None
    labels: dict[str, str] = field(default_factory=dict)
    trouble: tuple[str, str] | None = None


def scan_shard(path: Path) -> tuple[list[Row], list[Oddity]]:
    """Rows of a shard's samples that have audio and a label, in order, and what is wrong with the others."""
    rows, report = [], []
    try:
        for key, sample in _samples(path):
            label = _label(key, sample.labels)
            trouble = sample.trouble
            if sample.row and not label:
                trouble = ("no label", "expected label or genre in its .json, a .cls or .txt, or <label>_<name> as key")
            if trouble:
                report.append(Oddity(trouble[0], key, path.name, trouble[1]))
            elif sample.row:
                rows.append(sample.row.labelled(label))
    except (tarfile.TarError, EOFError) as error:
        report.append(Oddity("truncated", "", path.name, f"no further sample can be read: {error}"))
    return rows, report


def _samples(path: Path) -> Iterator[tuple[str, _Sample]]:
    """Group a shard's members by key; WebDataset puts a sample's members one after another."""
    current, sample = None, _Sample()
    with tarfile.open(path) as tar:
        for member in tar:
            folder, _, name = member.name.rpartition("/")
            stem, _, suffix = name.partition(".")
            key = f"{folder}/{stem}" if folder else stem
            if not member.isfile() or not stem:
                continue
            if key != current:
                if current is not None:
                    yield current, sample
                current, sample = key, _Sample()
            _take(sample, key, suffix.rpartition(".")[2].lower(), tar, member, path.name)
    if current is not None:
        yield current, sample


def _take(sample: _Sample, key: str, kind: str, tar: tarfile.TarFile, member: tarfile.TarInfo, shard: str) -> None:
    file = tar.extractfile(member)
    if file is None or kind not in {*READ, "json", "cls", "txt"}:
        return
    data = file.read()
    if kind not in READ:
        sample.labels[kind] = data.decode("utf-8", errors="replace").strip()
        return
    try:
        sample.row = _row(key, data, shard, member.offset_data)
    except ValueError as error:
        sample.trouble = ("unreadable", str(error))


def _row(key: str, data: bytes, shard: str, offset: int) -> Row:
    header = audio.info(data)
    data_offset, data_size, encoding = layout(data)
    frames = data_size // (2 * header.channels) if encoding == "pcm16" else header.frames
    frames = frames or len(audio.decode(data)[0])
    if not frames:
        raise ValueError("no samples")
    return Row(
        key=key,
        clip_id=key,
        shard=shard,
        member_offset=offset,
        member_size=len(data),
        data_offset=offset + data_offset,
        data_size=data_size,
        frames=frames,
        sample_rate=header.sample_rate,
        channels=header.channels,
        encoding=encoding,
        label="",
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _label(key: str, said: dict[str, str]) -> str:
    """Label of a sample, by its members or its key; empty if nothing says it."""
    try:
        facts = json.loads(said.get("json", "{}"))
    except json.JSONDecodeError:
        facts = {}
    if isinstance(facts, dict):
        for field_name in ("label", "genre"):
            if field_name in facts:
                return str(facts[field_name])
    head, underscore, _ = key.rpartition("/")[2].partition("_")
    return said.get("cls") or said.get("txt") or (head if underscore else "")
