"""Read the samples of a WebDataset shard that somebody else packed."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

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
    rows: list[Row] = []
    report: list[Oddity] = []
    try:
        for key, sample in _samples(path, report):
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


def _samples(path: Path, report: list[Oddity]) -> Iterator[tuple[str, _Sample]]:
    """Group a shard's members by key; WebDataset puts a sample's members one after another."""
    current, sample = None, _Sample()
    for tar, member in _members(path, report):
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


def _members(path: Path, report: list[Oddity]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Members of a shard, in order; damaged stretches are reported and skipped.

    tarfile ends quietly at a header that it cannot read, and so would lose every member after it. So where it ends,
    look for another header further on.
    """
    with path.open("rb") as file:
        end = 0
        while (start := _next_header(file, end)) is not None:
            if start > end:
                lost = f"{start - end} bytes up to the next header are left out, and whatever clip was in them"
                report.append(Oddity("damaged", "", path.name, f"no tar header at byte {end}: {lost}"))
            file.seek(start)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    yield tar, member
                end = tar.offset
        if _holds_more(file, end):
            report.append(Oddity("damaged", "", path.name, f"no tar header at byte {end}, nor after it"))


def _next_header(file: BinaryIO, offset: int) -> int | None:
    """Byte at which the next valid tar header begins, from `offset` on; None if there is none."""
    file.seek(offset)
    while len(block := file.read(tarfile.BLOCKSIZE)) == tarfile.BLOCKSIZE:
        try:
            tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
            return offset
        except tarfile.HeaderError:
            offset += tarfile.BLOCKSIZE
    return None


def _holds_more(file: BinaryIO, offset: int) -> bool:
    """Whether anything but the zeros that end a tar file follows `offset`."""
    file.seek(offset)
    return any(any(block) for block in iter(lambda: file.read(1 << 20), b""))


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
