"""Recognise audio files by suffix and first bytes, and those that need PyAV."""

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
"""Suffixes of audio files and of videos with sound, in lower case."""


def need_av(names: Iterable[str]) -> int:
    """Count the files that need PyAV, by suffix; 0 if it is installed."""
    if find_spec("av") is not None:
        return 0
    return sum(name.rpartition(".")[2].lower() in _PYAV for name in names)


FFMPEG_FORMATS = (
    "aac", "ac3", "aiff", "ape", "asf", "au", "avi", "caf", "eac3", "flac", "flv", "matroska,webm",
    "mov,mp4,m4a,3gp,3g2,mj2", "mp3", "mpeg", "mpegts", "ogg", "tta", "w64", "wav", "wv"
)  # fmt: skip
"""Formats that FFmpeg is allowed to read, by its names. Others, such as playlists, can make it open further files."""

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
    """Return the name of a format that only PyAV decodes, from a file's first 12 bytes; "" for any other.

    >>> known_to_ffmpeg(b"\\0\\0\\0\\x1cftypM4A ")
    'MP4'
    """
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "AAC"
    return next((name for name, (at, start) in _SIGNATURES.items() if head[at : at + len(start)] == start), "")
