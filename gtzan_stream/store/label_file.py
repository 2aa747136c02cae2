"""Read labels and groups of clips from a CSV file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gtzan_stream.catalog.rows import read_rows
from gtzan_stream.errors import UserError
from gtzan_stream.store.keys import printable

_CLIP_COLUMNS = ("path", "key", "path or key", "file", "filename", "file_name", "name", "clip")
_LABEL_COLUMNS = ("label", "genre", "class", "category")


@dataclass
class LabelFile:
    """The content of a label file: labels and groups by key, and the names in it that match no clip."""

    labels: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def read_labels(path: str | Path, find: Callable[[str], str | None]) -> LabelFile:
    """Read a CSV file with a row for each clip: path or key, label and, optionally, group.

    If the first row names the columns, they may be in any order, and other columns are ignored.

    Parameters
    ----------
    path : path of the file
    find : callable
        Returns the key of the clip that a name in the file refers to, or None.

    Raises
    ------
    UserError
        If the file cannot be read, a row is malformed, two rows name the same clip, or no row names a clip.
    """
    rows = read_rows(path, "a file of path,label rows in UTF-8")
    columns = _header_columns(rows[0][1]) if rows else None
    found = LabelFile()
    for line, cells in rows[1:] if columns else rows:
        where = f"{path}, line {line}"
        name, label, group = _parse_row(cells, columns, where)
        try:
            key = find(name)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if key is None:
            found.unknown.append(name)
            continue
        if key in found.labels:
            raise UserError(f"{where}: {name} is the clip {key}, which has a row already: give each clip one row")
        found.labels[key] = label
        if group:
            found.groups[key] = group
    if not found.labels:
        first = f": the first is {found.unknown[0]!r}" if found.unknown else ""
        raise UserError(
            f"{path}: none of its {len(found.unknown)} rows names a clip of SRC{first}; expected path,label or"
            " path,label,group, the path relative to SRC, such as rock/1.wav,rock"
        )
    return found


def _header_columns(first: list[str]) -> tuple[int, int, int | None] | None:
    """Return the columns of clip, label and group if the first row names them, else None."""
    names = [cell.lower() for cell in first]
    clip = next((names.index(name) for name in _CLIP_COLUMNS if name in names), None)
    label = next((names.index(name) for name in _LABEL_COLUMNS if name in names), None)
    if clip is None or label is None:
        return None
    return clip, label, names.index("group") if "group" in names else None


def _parse_row(cells: list[str], columns: tuple[int, int, int | None] | None, where: str) -> tuple[str, str, str]:
    """Return clip, label and group of a row; the group is empty if the row has none."""
    if columns is None:
        name, label, group = [*cells, ""][:3] if len(cells) in (2, 3) else ("", "", "")
    else:
        name, label, group = (cells[i] if i is not None and i < len(cells) else "" for i in columns)
    if not name or not label:
        raise UserError(f"{where}: expected path,label or path,label,group such as rock/1.wav,rock; got {cells}")
    return printable(name), printable(label), printable(group)
