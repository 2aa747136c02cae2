"""Read the samples of a WebDataset shard that somebody else packed."""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import suppress
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
    for key, sample in _samples(path, report):
        label = _label(key, sample.labels)
        trouble = sample.trouble
        if sample.row and not label and not trouble:
            trouble = ("no label", "expected label or genre in its .json, a .cls or .txt, or <label>_<name> as key")
        if trouble:
            report.append(Oddity(trouble[0], key, path.name, trouble[1]))
        elif sample.row:
            rows.append(sample.row.labelled(label))
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
    """Members of a shard, in order; stretches without a readable header are reported and skipped.

    tarfile ends quietly at a header that it cannot read, and raises at one that follows an extended header, so it would
    lose every member after either. Where it stops, look for another header further on.
    """
    n_members = end = skip = 0
    with path.open("rb") as file:
        while (start := _next_header(file, end + skip)) is not None:
            if _not_zero(file, end, start):
                lost = f"{start - end} bytes up to the next header are left out, and whatever clip was in them"
                report.append(Oddity("damaged", "", path.name, f"no tar header at byte {end}: {lost}"))
            file.seek(start)
            end, skip = start, tarfile.BLOCKSIZE  # in case that even the first member cannot be read
            with suppress(tarfile.TarError), tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    n_members += 1
                    yield tar, member
                    end = tar.offset
                end, skip = tar.offset, 0
        size = file.seek(0, os.SEEK_END)
        if end > size:
            report.append(Oddity("truncated", "", path.name, f"the shard ends at byte {size}, inside its last member"))
        elif _not_zero(file, end, None):
            report.append(Oddity("damaged", "", path.name, f"no tar header at byte {end}, nor after it"))
        elif not n_members:
            report.append(Oddity("damaged", "", path.name, "the shard is empty"))


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


def _not_zero(file: BinaryIO, start: int, end: int | None) -> bool:
    """Whether the file holds anything but zeros, with which a tar ends, from byte `start` to `end` or its own end."""
    file.seek(start)
    remaining = None if end is None else end - start
    while block := file.read(1 << 20 if remaining is None else min(remaining, 1 << 20)):
        if any(block):
            return True
        remaining = None if remaining is None else remaining - len(block)
    return False


def _take(sample: _Sample, key: str, kind: str, tar: tarfile.TarFile, member: tarfile.TarInfo, shard: str) -> None:
    file = tar.extractfile(member)
    if file is None or kind not in {*READ, "json", "cls", "txt"}:
        return
    try:
        data = file.read()
    except (tarfile.TarError, EOFError) as error:
        sample.row, sample.trouble = None, ("truncated", f"the shard ends inside its {kind}: {error}")
        return
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
