"""Read labels, and groups, from a CSV file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gtzan_stream.catalog.rows import read_rows
from gtzan_stream.errors import UserError
from gtzan_stream.store.keys import printable

_CLIP = ("path", "key", "path or key", "file", "filename", "file_name", "name", "clip")
_LABEL = ("label", "genre", "class", "category")


@dataclass
class LabelFile:
    """What a file says: labels and groups by key, and the names in it that no clip has."""

    labels: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def read_labels(path: str | Path, find: Callable[[str], str | None]) -> LabelFile:
    """Read a CSV file with a row for each clip: path or key, label and, if there are groups, group.

    A first row that names the columns lets them stand in any order among others.

    Parameters
    ----------
    path : path of the file
    find : callable
        Gives the key of the clip that a name in the file means, or None.

    Raises
    ------
    UserError
        If the file cannot be read, a row is malformed or names a clip for the second time, or no row names a clip.
    """
    rows = read_rows(path, "a file of path,label rows in UTF-8")
    columns = _columns(rows[0][1]) if rows else None
    found = LabelFile()
    for line, cells in rows[1:] if columns else rows:
        where = f"{path}, line {line}"
        name, label, group = _cells(cells, columns, where)
        try:
            key = find(name)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if key is None:
            found.unknown.append(name)
            continue
        if key in found.labels:
            raise UserError(f"{where}: {name} is the clip {key}, which has a row before: give each clip one row")
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


def _columns(first: list[str]) -> tuple[int, int, int | None] | None:
    """Positions of clip, label and group if the first row is a header."""
    names = [cell.lower() for cell in first]
    clip = next((names.index(name) for name in _CLIP if name in names), None)
    label = next((names.index(name) for name in _LABEL if name in names), None)
    if clip is None or label is None:
        return None
    return clip, label, names.index("group") if "group" in names else None


def _cells(cells: list[str], columns: tuple[int, int, int | None] | None, where: str) -> tuple[str, str, str]:
    """Clip, label and group of a row; the group is empty if there is none."""
    if columns is None:
        name, label, group = [*cells, ""][:3] if len(cells) in (2, 3) else ("", "", "")
    else:
        name, label, group = (cells[i] if i is not None and i < len(cells) else "" for i in columns)
    if not name or not label:
        raise UserError(f"{where}: expected path,label or path,label,group such as rock/1.wav,rock; got {cells}")
    return printable(name), printable(label), printable(group)
