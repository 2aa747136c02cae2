"""Make folders of music for tests of labels and keys. The files are empty, since nothing decodes them."""

from pathlib import Path

from gtzan_stream.store.survey import survey


def touch(root: Path, *paths: str) -> Path:
    """Create empty files below `root`, and return it."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def keys_and_labels(root: Path, **options: object) -> dict[str, tuple[str, str]]:
    """Return the key and the label of each clip, by path."""
    return {clip.name: (clip.key, clip.label) for clip in survey(root, **options).clips}
