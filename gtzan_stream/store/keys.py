"""Choose the keys of clips: readable, unique, and stable when files are added.

A key depends on the path below the label's folder, so it stays the same wherever that folder is. `unique_keys` lets
clips compete for keys in rounds. In each round a clip proposes a key; if other clips have ever proposed the same one,
none of them gets it, and all of them propose a longer one:

    attempt   proposed key                                      for test/rock/x.mp3, label rock
    0         label and path below the label's folder           rock_x
    1         and the folders above the label's folder          rock_x_test
    2         and the extension                                 rock_x_test_mp3
    3         and a hash of the path                            rock_x_test_mp3_717fd115
    4, 5...   and a hash of the attempt and the path            rock_x_test_mp3_8f67cb53

A contested key stays unused. So a file that is added later can lengthen the keys of the clips that it collides with,
but it never takes over the key of another clip: splits and published results name clips by key.
"""

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(name: str) -> str:
    """Make a file name fit for JSON and terminals.

    The result is in Unicode's form NFC, with %XX for control characters and for bytes that are not UTF-8.

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
    """The parts from which a clip's key is made.

    Attributes
    ----------
    path : str
        Path of the file below the source folder, with ``/`` between folders.
    depth : int
        Number of folders in `path` down to and including the label's folder.
    label : str
        Name of the label's folder; empty for a key that does not begin with a label.
    """

    path: str
    depth: int
    label: str

    @property
    def clip_id(self) -> str:
        """Readable name of the clip: label and path below the label's folder, without extension.

        The label is left out where the path begins with it as a word.
        """
        below = posixpath.splitext(printable("/".join(self.path.split("/")[self.depth :])))[0]
        label = printable(self.label)
        return below if not label or _begins_with_word(_clean(below), _clean(label)) else f"{label}.{below}"

    def key(self, attempt: int) -> str:
        """Return the key that the clip proposes at an attempt; see the table at the top of this file."""
        path = printable(self.path)
        parts = [self.clip_id]
        if attempt >= 1:
            parts += path.split("/")[: max(0, self.depth - 1)]
        if attempt >= 2:
            parts.append(posixpath.splitext(path)[1].lower().lstrip("."))
        if attempt >= 3:  # from attempt 4 on, hash the path as it is: two paths may differ in their Unicode form only
            parts.append(_short_hash(path if attempt == 3 else f"{attempt} {self.path}"))
        return "_".join(_clean(part) for part in parts)


def unique_keys(clips: Sequence[KeyParts]) -> list[str]:
    """Return the key of each clip, in the order of the clips. All keys differ, even if case is ignored.

    A key is ``<label>_<path below the label's folder>``, without extension, with ``_`` for ``/``, ``.`` and spaces; the
    label is left out where the path begins with it as a word. Clips that would get the same key all get longer ones:
    the names of the folders above the label's folder are appended, then the extension, then a hash of the path. The
    result does not depend on the order of the clips.

    >>> unique_keys([KeyParts(f"rock/{name}", 1, "rock") for name in ("x.mp3", "x.wav", "rock.00001.wav")])
    ['rock_x_mp3', 'rock_x_wav', 'rock_00001']
    """
    attempts = [0] * len(clips)
    keys = [""] * len(clips)
    claimants: dict[str, list[int]] = defaultdict(list)  # all clips that ever proposed a key, ignoring case
    pending = list(range(len(clips)))
    while pending:
        clip = pending.pop()
        keys[clip] = clips[clip].key(attempts[clip])
        rivals = claimants[keys[clip].casefold()]
        rivals.append(clip)
        # A first claimant keeps the key for now. A second one makes both lose it. A third or later one loses alone,
        # because the earlier claimants have lost the key already.
        losers = {1: [], 2: list(rivals)}.get(len(rivals), [clip])
        for loser in losers:
            attempts[loser] += 1
        pending += losers
    return keys


def _clean(text: str) -> str:
    return re.sub(r"[\s/.]", "_", text)


def _begins_with_word(text: str, word: str) -> bool:
    """Return whether `text` begins with `word` as a whole word.

    blues_0 and blues00 begin with the word blues, but bluesy does not, and 10 does not begin with the word 1.
    """
    if not text.lower().startswith(word.lower()):
        return False
    last, following = word[-1:], text[len(word) : len(word) + 1]
    return not (following.isalpha() if not last.isdigit() else following.isalnum())


def _short_hash(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
