"""GTZAN's ten genres, the study's eight, and the keys of GTZAN's clips."""

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
"""GTZAN's genres, in the order of their labels."""

STUDY_GENRES = tuple(genre for genre in GENRES if genre not in ("blues", "rock"))
"""The eight genres of the 2019 study, which left out blues and rock."""


def key_of(clip_id: str) -> str:
    """Turn a clip id into a key without dots, because WebDataset ends keys at the first dot.

    >>> key_of("blues.00000")
    'blues_00000'
    """
    return clip_id.replace(".", "_")


def genre_of(key: str) -> str:
    """Return the genre in the key of a GTZAN clip.

    >>> genre_of("hiphop_00039")
    'hiphop'
    """
    return key.partition("_")[0]
