"""Find the clips of a folder of music and give each its label and its key."""

import os
from dataclasses import dataclass
from pathlib import Path

from gtzan_stream import audio
from gtzan_stream.errors import UserError


@dataclass(frozen=True)
class Clip:
    """A file to pack: `path`, and its name relative to the source folder, its label, clip id and key."""

    path: Path
    name: str
    label: str
    clip_id: str
    key: str


def scan(src: str | Path) -> list[Clip]:
    """List the audio files under `src`, sorted by key; the folder a file lies in is its label.

    Hidden files, macOS's ``._*`` among them, and whatever is not audio by its suffix are passed over.

    Raises
    ------
    UserError
        If there is no such folder, no audio in it, or two files have one key.
    """
    root = Path(src)
    if not root.is_dir():
        raise UserError(f"{src} is no folder: give the folder that holds <label>/<clip>.<ext>")
    paths = sorted(_audio_files(root))
    if not paths:
        raise UserError(f"{src} holds no audio file: expected <label>/<clip>.<ext>, such as blues/blues.00000.wav")
    clips: dict[str, Clip] = {}
    for path in paths:
        clip = _clip(path, root)
        if clip.key in clips:
            other = clips[clip.key].name
            raise UserError(f"{other} and {clip.name} in {src} would both get the key {clip.key}: rename or remove one")
        clips[clip.key] = clip
    return [clips[key] for key in sorted(clips)]


def _audio_files(root: Path) -> list[Path]:
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "__MACOSX"))]
        found += [
            Path(folder, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in audio.SUFFIXES
        ]
    return found


def _clip(path: Path, root: Path) -> Clip:
    label = path.parent.name or path.parent.resolve().name
    clip_id = path.stem if _names(path.stem, label) else f"{label}.{path.stem}"
    return Clip(path, path.relative_to(root).as_posix(), label, clip_id, clip_id.replace(".", "_"))


def _names(stem: str, label: str) -> bool:
    """Whether a file's name begins with its label as a word: `blues.00000` does, `bluesy` does not."""
    return stem.lower().startswith(label.lower()) and not stem[len(label) : len(label) + 1].isalpha()
