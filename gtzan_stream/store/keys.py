"""Keys of clips: unique, and the same wherever the label's folder lies and whatever is added beside it."""

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(name: str) -> str:
    """Make a file's name fit for JSON and terminals: NFC, with %XX for control characters and bytes that are not UTF-8.

    >>> printable("caf\\udce9\\n.wav"), printable("\\ud800")
    ('caf%E9%0A.wav', '%ED%A0%80')
    """
    return _UNPRINTABLE.sub(_escape, unicodedata.normalize("NFC", name))


def _escape(match: re.Match[str]) -> str:
    try:
        data = match[0].encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold
        data = match[0].encode("utf-8", "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in data)


@dataclass(frozen=True)
class KeyParts:
    """What a clip's key is made of.

    `path` is the file's path below the source folder, with ``/`` between folders; `depth` says how many of its folders
    lead to the label's folder, that one included; `label` is the name of the label's folder, or empty if the key shall
    have none in front.
    """

    path: str
    depth: int
    label: str

    @property
    def clip_id(self) -> str:
        """Readable name of the clip: the path below the label's folder, the label in front unless it is there."""
        below = posixpath.splitext(printable("/".join(self.path.split("/")[self.depth :])))[0]
        label = printable(self.label)
        return below if not label or _begins_with_word(_clean(below), _clean(label)) else f"{label}.{below}"

    def key(self, attempt: int) -> str:
        """Key of the clip: the first attempt is the plain one, later ones add what tells it from its rivals."""
        path = printable(self.path)
        parts = [self.clip_id]
        if attempt >= 1:
            parts += path.split("/")[: max(0, self.depth - 1)]
        if attempt >= 2:
            parts.append(posixpath.splitext(path)[1].lower().lstrip("."))
        if attempt >= 3:  # paths that differ in their Unicode form alone differ from the fourth attempt on
            parts.append(_short_hash(path if attempt == 3 else f"{attempt} {self.path}"))
        return "_".join(_clean(part) for part in parts)


def unique_keys(clips: Sequence[KeyParts]) -> list[str]:
    """Key of each clip, in the clips' order; no two are equal, even where upper and lower case are one.

    A key is ``<label>_<path below the label's folder>``, without extension, with ``_`` for ``/``, ``.`` and spaces; the
    label is left out where the path begins with it as a word. Where several clips would get one key, none of them gets
    it. The names of the folders above the label's are appended to all of them; where keys are still equal, the
    extension too; then a hash of the path.

    A key that was ever contested belongs to no clip, so adding a clip can change the keys of those it collides with but
    never gives the key of one clip to another.

    >>> unique_keys([KeyParts(f"rock/{name}", 1, "rock") for name in ("x.mp3", "x.wav", "rock.00001.wav")])
    ['rock_x_mp3', 'rock_x_wav', 'rock_00001']
    """
    attempts = [0] * len(clips)
    keys = [""] * len(clips)
    claimants: dict[str, list[int]] = defaultdict(list)
    waiting = list(range(len(clips)))
    while waiting:
        clip = waiting.pop()
        keys[clip] = clips[clip].key(attempts[clip])
        rivals = claimants[keys[clip].casefold()]
        rivals.append(clip)
        losers = {1: [], 2: list(rivals)}.get(len(rivals), [clip])  # of three or more, all but this one lost before
        for loser in losers:
            attempts[loser] += 1
        waiting += losers
    return keys


def _clean(text: str) -> str:
    return re.sub(r"[\s/.]", "_", text)


def _begins_with_word(text: str, word: str) -> bool:
    """Whether `text` begins with `word` as a word: blues_0 and blues00 with blues; bluesy does not, nor 10 with 1."""
    if not text.lower().startswith(word.lower()):
        return False
    last, following = word[-1:], text[len(word) : len(word) + 1]
    return not (following.isalpha() if not last.isdigit() else following.isalnum())


def _short_hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
