"""Which files hold sound, by their suffixes and first bytes; and which of them need PyAV."""

from collections.abc import Iterable
from importlib.util import find_spec

_SOUNDFILE = (
    "wav", "wave", "rf64", "w64", "au", "snd", "aif", "aiff", "aifc", "caf", "flac", "ogg", "oga", "opus", "mp2", "mp3"
)  # fmt: skip
_PYAV = (
    "3gp", "aac", "ac3", "alac", "ape", "asf", "avi", "flv", "m4a", "m4b", "m4v", "mka", "mkv", "mov", "mp4", "mpeg",
    "mpg", "mts", "ogv", "tta", "wma", "webm", "wmv", "wv"
)  # fmt: skip
SUFFIXES = frozenset(f".{suffix}" for suffix in _SOUNDFILE + _PYAV)
"""Suffixes of the files to look for, in lower case: sound, and videos, of which the sound is taken."""


def need_av(names: Iterable[str]) -> int:
    """Count the files that only PyAV can read, by their suffixes, if it is not installed."""
    if find_spec("av") is not None:
        return 0
    return sum(name.rpartition(".")[2].lower() in _PYAV for name in names)


FFMPEG_FORMATS = (
    "aac", "ac3", "aiff", "ape", "asf", "au", "avi", "caf", "eac3", "flac", "flv", "matroska,webm",
    "mov,mp4,m4a,3gp,3g2,mj2", "mp3", "mpeg", "mpegts", "ogg", "tta", "w64", "wav", "wv"
)  # fmt: skip
"""FFmpeg's names of the formats it may read. Others, such as playlists, would open further files by name."""

_SIGNATURES = {
    "MP4": (4, b"ftyp"),
    "QuickTime": (4, b"moov"),
    "Matroska or WebM": (0, b"\x1a\x45\xdf\xa3"),
    "Windows Media": (0, b"\x30\x26\xb2\x75"),
    "AVI": (8, b"AVI "),
    "Flash video": (0, b"FLV"),
    "WavPack": (0, b"wvpk"),
    "Monkey's Audio": (0, b"MAC "),
    "True Audio": (0, b"TTA1"),
    "MPEG video": (0, b"\0\0\1\xba"),
    "AC-3": (0, b"\x0b\x77"),
}


def known_to_ffmpeg(head: bytes) -> str:
    """Name of a format that PyAV decodes and soundfile does not, by a file's first 12 bytes; empty if it is none.

    >>> known_to_ffmpeg(b"\\0\\0\\0\\x1cftypM4A ")
    'MP4'
    """
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "AAC"
    return next((name for name, (at, start) in _SIGNATURES.items() if head[at : at + len(start)] == start), "")
