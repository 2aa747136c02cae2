"""Folders of music for tests of labels and keys; the files are empty, since nothing decodes them."""

from pathlib import Path

from gtzan_stream.store.survey import survey


def touch(root: Path, *paths: str) -> Path:
    """Make empty files below `root`."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def keys_and_labels(root: Path, **options: object) -> dict[str, tuple[str, str]]:
    """Key and label of each clip by its path."""
    return {clip.name: (clip.key, clip.label) for clip in survey(root, **options).clips}
