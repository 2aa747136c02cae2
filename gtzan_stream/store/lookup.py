"""Find the clip that a row of a file means: by path, by key, or by a bare file name."""

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from gtzan_stream.catalog.genres import key_of
from gtzan_stream.errors import UserError
from gtzan_stream.store.keys import printable

_FORMS: tuple[Callable[[str], str], ...] = (
    lambda path: path,
    lambda path: posixpath.splitext(path)[0],
    posixpath.basename,
    lambda path: posixpath.splitext(posixpath.basename(path))[0],
)


class Lookup(Mapping[str, str]):
    """The path of each clip by key, which also finds clips by the other names that people give them.

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
        self._named: list[dict[str, list[str]]] = [defaultdict(list) for _ in _FORMS]
        for key, path in paths.items():
            for named, form in zip(self._named, _FORMS, strict=True):
                named[form(printable(path))].append(key)

    def __getitem__(self, key: str) -> str:
        return self._paths[key]

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def find(self, name: str) -> str | None:
        """Key of the clip that `name` means, or None: a path with or without extension, a key, or a unique file name.

        Raises
        ------
        UserError
            If `name` could mean several clips.
        """
        name = unicodedata.normalize("NFC", name).removeprefix("./")
        exact, *loose = (named.get(name, []) for named in self._named)
        if len(exact) == 1:
            return exact[0]
        for key in (name, key_of(name)):
            if key in self._paths:
                return key
        for found in loose:
            if len(found) == 1:
                return found[0]
            if found:
                some = " or ".join(sorted(printable(self._paths[key]) for key in found)[:2])
                raise UserError(f"{name} could be {some}: give the path relative to SRC, with its extension")
        return None
