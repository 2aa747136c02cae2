"""Parse manifest.json and check that its content has the form in which `write_manifest` writes it.

A manifest may be damaged or come from an untrusted source. After `check_metadata`, the fields have the types that the
rest of the package relies on, and every file name is that of a file in the manifest's own folder, so that no manifest
can make `pack` remove, or a loader read, a file elsewhere.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from gtzan_stream.errors import UserError
from gtzan_stream.store.issues import Issue
from gtzan_stream.store.tables import FORMAT, FORMAT_VERSION

_MAX_FILE_BYTES = 2**60  # so that sums of a few sizes fit in 64 bits
_MAX_NAME_BYTES = 255  # the limit of most file systems


def load_metadata(content: bytes, address: str) -> dict[str, Any]:
    """Parse and check a manifest of this format version. Raises UserError, with `address`, if it is not one."""
    try:
        metadata = parse_manifest(content)
        if metadata["format"] != FORMAT or metadata["format_version"] != FORMAT_VERSION:
            raise UserError(
                f"{address} is in version {metadata['format_version']} of the format {metadata['format']}, "
                f"this program reads version {FORMAT_VERSION} of {FORMAT}: pack the set again"
            )
        check_metadata(metadata)
    except UserError:
        raise
    except (ValueError, KeyError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{address} is not a manifest of gtzan-stream ({reason}): pack the set again") from None
    return metadata


def parse_manifest(text: str | bytes) -> dict[str, Any]:
    """Parse the JSON of a manifest, without checking its fields. Raises ValueError if it is not a JSON object."""
    try:
        metadata = json.loads(text)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None
    if not isinstance(metadata, dict):
        raise ValueError(f"it is a {type(metadata).__name__}")
    return metadata


def manifest_digest(metadata: dict[str, Any]) -> str:
    """Compute the sha256 over format version, sample rate, labels and the checksums of shards and tables."""
    content = {key: metadata[key] for key in ("format_version", "sample_rate", "labels", "shards", "tables")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_metadata(metadata: dict[str, Any]) -> None:
    """Raise ValueError if a field of `metadata`, the content of a manifest.json, is missing or has a wrong form."""
    checks: dict[str, Callable[[Any], bool]] = {
        "dataset": lambda name: isinstance(name, str),
        "sample_rate": lambda rate: type(rate) is int and 0 < rate < 1_000_000,
        "labels": lambda labels: isinstance(labels, list) and all(isinstance(label, str) for label in labels),
        "clips": lambda number: type(number) is int,
        "shards": lambda files: isinstance(files, list) and all(map(_is_file, files)),
        "tables": lambda files: isinstance(files, list) and all(map(_is_file, files)),
        "splits": lambda splits: isinstance(splits, dict) and all(map(_is_counts, splits.values())),
        "report": lambda lines: isinstance(lines, list) and all(map(_is_issue, lines)),
    }
    for name, check in checks.items():
        if name not in metadata:
            raise ValueError(f"it lacks {name}")
        if not check(metadata[name]):
            raise ValueError(f"its field {name} does not have the expected form")
    for file in metadata["shards"] + metadata["tables"]:
        if not _is_file_name(file["name"]):
            raise ValueError(f"it lists a file outside its folder, {file['name']!r}")


def _is_file(file: Any) -> bool:
    """Return whether `file` has name, size and sha256."""
    return (
        isinstance(file, dict)
        and isinstance(file.get("name"), str)
        and type(file.get("size")) is int
        and 0 <= file["size"] < _MAX_FILE_BYTES
        and isinstance(file.get("sha256"), str)
    )


def _is_counts(parts: Any) -> bool:
    """Return whether `parts` maps the parts of a split to numbers of clips."""
    return isinstance(parts, dict) and all(type(number) is int for number in parts.values())


def _is_issue(line: Any) -> bool:
    columns = [field.name for field in fields(Issue)]
    return isinstance(line, dict) and all(isinstance(line.get(column), str) for column in columns)


def _is_file_name(name: str) -> bool:
    """Return whether `name` can be a file in the folder itself, rather than a path that leads elsewhere."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
        return False
    return size <= _MAX_NAME_BYTES and name not in ("", "..") and "\0" not in name and Path(name).name == name
