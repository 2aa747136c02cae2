"""Read manifest.json: its content in the form that `write_manifest` gives it, or an error."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from gtzan_stream.store.issues import Issue

_MOST_BYTES = 2**60  # of a file; leaves room to add to it in 64 bits
_LONGEST_NAME = 255  # bytes, in most file systems


def parse(text: str | bytes) -> dict[str, Any]:
    """Read the JSON of a manifest, in whatever form its metadata are. Raises ValueError if it is no JSON object."""
    try:
        metadata = json.loads(text)
    except RecursionError:
        raise ValueError("its brackets are nested too deep") from None
    if not isinstance(metadata, dict):
        raise ValueError(f"it is a {type(metadata).__name__}")
    return metadata


def digest(metadata: dict[str, Any]) -> str:
    """sha256 over format, rate, labels and the checksums of shards and tables."""
    content = {key: metadata[key] for key in ("format_version", "sample_rate", "labels", "shards", "tables")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_metadata(metadata: dict[str, Any]) -> None:
    """Raise ValueError if `metadata`, the content of a manifest.json, has not the form that `write_manifest` gives it.

    Every name is that of a file in the manifest's own folder.
    """
    checks: dict[str, Callable[[Any], bool]] = {
        "dataset": lambda name: isinstance(name, str),
        "sample_rate": lambda rate: type(rate) is int and 0 < rate < 1_000_000,
        "labels": lambda labels: isinstance(labels, list) and all(isinstance(label, str) for label in labels),
        "clips": lambda number: type(number) is int,
        "shards": lambda files: isinstance(files, list) and all(map(_describes_a_file, files)),
        "tables": lambda files: isinstance(files, list) and all(map(_describes_a_file, files)),
        "splits": lambda splits: isinstance(splits, dict) and all(map(_counts, splits.values())),
        "report": lambda lines: isinstance(lines, list) and all(map(_is_line, lines)),
    }
    for name, check in checks.items():
        if name not in metadata:
            raise ValueError(f"it lacks {name}")
        if not check(metadata[name]):
            raise ValueError(f"its {name} have another form")
    for file in metadata["shards"] + metadata["tables"]:
        if not _is_file_name(file["name"]):
            raise ValueError(f"it lists a file outside its folder, {file['name']!r}")


def _describes_a_file(file: Any) -> bool:
    return (
        isinstance(file, dict)
        and isinstance(file.get("name"), str)
        and type(file.get("size")) is int
        and 0 <= file["size"] < _MOST_BYTES
        and isinstance(file.get("sha256"), str)
    )


def _counts(parts: Any) -> bool:
    return isinstance(parts, dict) and all(type(number) is int for number in parts.values())


def _is_line(line: Any) -> bool:
    columns = [field.name for field in fields(Issue)]
    return isinstance(line, dict) and all(isinstance(line.get(column), str) for column in columns)


def _is_file_name(name: str) -> bool:
    """Whether `name` can be a file of the folder itself, and is not a path."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:  # half a character, which JSON can hold
        return False
    return size <= _LONGEST_NAME and name not in ("", "..") and "\0" not in name and Path(name).name == name
