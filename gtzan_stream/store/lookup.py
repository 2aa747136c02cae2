"""Find the clip that a row of a label or split file refers to: by path, by key, or by a bare file name."""

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from gtzan_stream.catalog.genres import key_of
from gtzan_stream.errors import UserError
from gtzan_stream.store.keys import printable

_NAME_FORMS: tuple[Callable[[str], str], ...] = (
    lambda path: path,
    lambda path: posixpath.splitext(path)[0],
    posixpath.basename,
    lambda path: posixpath.splitext(posixpath.basename(path))[0],
)
"""Common ways to write a clip's path: whole, without extension, and the file name with and without extension."""


class Lookup(Mapping[str, str]):
    """A mapping from key to path that also finds clips by the other names that people use for them.

    Parameters
    ----------
    paths : mapping from key to path
        Paths are relative to the source folder, with ``/`` between folders.

    >>> lookup = Lookup({"rock_1": "rock/1.wav", "jazz_1": "jazz/1.wav", "jazz_2": "jazz/2.wav"})
    >>> [lookup.find(name) for name in ("rock/1.wav", "rock/1", "rock_1", "2.wav", "2", "3")]
    ['rock_1', 'rock_1', 'rock_1', 'jazz_2', 'jazz_2', None]
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths
        self._keys_by_name: list[dict[str, list[str]]] = [defaultdict(list) for _ in _NAME_FORMS]
        for key, path in paths.items():
            for keys_by_name, form in zip(self._keys_by_name, _NAME_FORMS, strict=True):
                keys_by_name[form(printable(path))].append(key)

    def __getitem__(self, key: str) -> str:
        return self._paths[key]

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def find(self, name: str) -> str | None:
        """Return the key of the clip that `name` refers to, or None if there is no such clip.

        `name` is tried in this order: as a whole path, as a key, as a path without extension, as a file name, as a file
        name without extension.

        Raises
        ------
        UserError
            If `name` could be several clips.
        """
        name = unicodedata.normalize("NFC", name).removeprefix("./")
        exact, *others = (keys_by_name.get(name, []) for keys_by_name in self._keys_by_name)
        if len(exact) == 1:
            return exact[0]
        for key in (name, key_of(name)):
            if key in self._paths:
                return key
        for keys in others:
            if len(keys) == 1:
                return keys[0]
            if keys:
                examples = " or ".join(sorted(printable(self._paths[key]) for key in keys)[:2])
                raise UserError(f"{name} could be {examples}: give the path relative to SRC, with its extension")
        return None
