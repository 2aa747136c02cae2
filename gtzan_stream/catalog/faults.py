"""Known faults of GTZAN (duplicates, a broken clip, a nearly silent one), and the MD5 checksum of every clip.

References
----------
.. [1] B. L. Sturm, "The GTZAN dataset: its contents, its faults, their effects on evaluation, and its future use",
   arXiv:1306.1461, 2013.
"""

import csv
from collections import defaultdict
from importlib.resources import files

_REMARKS = {
    "jazz_00054": "undecodable or truncated in the common copies of GTZAN",
    "reggae_00086": "audible for its first seconds only",
}


def _checksums() -> dict[str, str]:
    text = files("gtzan_stream.catalog").joinpath("data/md5.csv").read_text(encoding="utf-8")
    return {row["key"]: row["md5"] for row in csv.DictReader(text.splitlines())}


def _duplicates(checksums: dict[str, str]) -> tuple[tuple[str, ...], ...]:
    keys = defaultdict(list)
    for key, digest in sorted(checksums.items()):
        keys[digest].append(key)
    return tuple(tuple(group) for group in keys.values() if len(group) > 1)


CHECKSUMS: dict[str, str] = _checksums()
"""MD5 of each of the 1,000 original WAV files in hexadecimal, by key."""

DUPLICATES: tuple[tuple[str, ...], ...] = _duplicates(CHECKSUMS)
"""Groups of keys with byte-identical original files."""

_DUPLICATES_OF = {key: [other for other in group if other != key] for group in DUPLICATES for key in group}


def known(key: str) -> str | None:
    """Describe the known fault of a GTZAN clip; None if it has none.

    >>> known("metal_00058")
    'byte-identical to rock_00016 in the original GTZAN'
    >>> known("blues_00000") is None
    True
    """
    if key in _DUPLICATES_OF:
        return f"byte-identical to {', '.join(_DUPLICATES_OF[key])} in the original GTZAN"
    return _REMARKS.get(key)
