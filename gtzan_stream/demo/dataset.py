"""The demo set: ten genres, synthesised in seconds, so that everything runs without a download.

It has the form of GTZAN (genres, folders, sample rate), but accuracy on it says nothing about music. Within a genre,
clips differ in instruments, patterns, chords and mix. Key, tempo, loudness and noise (`CONDITIONS`) vary little in
training and a lot in validation and test: a network that learned a genre's key, tempo or loudness fails there, and
augmentation helps.
"""

import io
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gtzan_stream.atomic import write_text
from gtzan_stream.catalog.genres import GENRES, key_of
from gtzan_stream.demo.band import play
from gtzan_stream.demo.styles import STYLES
from gtzan_stream.demo.synth import RATE, Audio
from gtzan_stream.errors import UserError, writing
from gtzan_stream.folders import created, scratch


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Ranges (low, high) of uniform random conditions for the clips of a part."""

    transpose: tuple[float, float]
    """Semitones above the genre's own key."""
    tempo: tuple[float, float]
    """Relative to the genre's own tempo."""
    gain: tuple[float, float]
    """Relative to the genre's own level."""
    noise: tuple[float, float]
    """Standard deviation of white noise; full scale is 1."""


_SEEN = Conditions(transpose=(-0.2, 0.2), tempo=(0.98, 1.02), gain=(0.9, 1.1), noise=(0.0, 0.0))
_UNSEEN = Conditions(transpose=(1.0, 3.5), tempo=(0.9, 1.12), gain=(1.5, 2.5), noise=(0.002, 0.004))

CONDITIONS = {"train": _SEEN, "valid": _UNSEEN, "test": _UNSEEN}
"""Conditions of each part of the split."""

PEAK = 0.3
"""Largest sample of a clip before it is scaled by `CLIP_GAIN`; full scale is 1."""

CLIP_GAIN = 0.1
"""Gain of all clips: low, so that log10(1 + 10 m) is nearly linear in loudness and noise is not negligible."""

FIRST_NUMBER = 10_000
"""Number of each genre's first clip, above those of GTZAN, so that GTZAN's splits and known faults do not apply."""

SPLIT_FILE = "demo.csv"
_UNFINISHED = ".demo-"


def synthesise(genre: str, number: int, *, part: str = "train", clip_s: float = 12.0, seed: int = 0) -> Audio:
    """Synthesise one clip, as a pure function of the arguments.

    Parameters
    ----------
    genre : one of `GENRES`
    number : int, not negative
        Each number gives another clip.
    part : one of train, valid, test
        Part of the split, which decides its `CONDITIONS`.
    clip_s : float
        Duration in seconds.
    seed : int, not negative
        Each seed gives another set.

    Returns
    -------
    ndarray [time], float32, at 22,050 Hz, within +/-1

    >>> clip = synthesise("reggae", 0, clip_s=2.0)
    >>> len(clip), bool(abs(clip).max() < 0.4)
    (44100, True)
    """
    style, conditions = STYLES[genre], CONDITIONS[part]
    rng = np.random.default_rng((seed, GENRES.index(genre), number))
    tempo_bpm = style.tempo_bpm * rng.uniform(*conditions.tempo)
    tonic = style.tonic + rng.uniform(*conditions.transpose)
    audio = play(style, rng, tempo_bpm=tempo_bpm, tonic=tonic, length=round(clip_s * RATE))
    audio = CLIP_GAIN * PEAK * np.tanh(style.level / PEAK * audio) * rng.uniform(*conditions.gain)
    audio += rng.uniform(*conditions.noise) * rng.standard_normal(len(audio), np.float32)
    return audio.astype(np.float32)


def write(
    folder: str | Path,
    *,
    train: int = 18,
    valid: int = 4,
    test: int = 10,
    clip_s: float = 12.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, Path]:
    """Write the clips `genres/<genre>/<genre>.NNNNN.wav`, 22,050 Hz, mono, 16 bit, and their split.

    The clips are written to a hidden folder and moved to `genres` when all are done. Leftovers of an interrupted call
    are removed.

    Parameters
    ----------
    folder : path
        Created if missing.
    train, valid, test : int
        Number of clips of each genre in each part.
    clip_s : float
        Duration of a clip in seconds.
    seed : int, not negative
        The same seed gives the same samples.
    progress : callable, optional
        Called with the number of clips written and the total.

    Returns
    -------
    genres : Path
        The folder of the genres.
    split : Path
        CSV file of `key,part` rows.

    Raises
    ------
    UserError
        If the folder already has a demo set or cannot be written.
    """
    folder = Path(folder)
    genres, split = folder / "genres", folder / SPLIT_FILE
    parts = ["train"] * train + ["valid"] * valid + ["test"] * test
    clips = [(genre, number, part) for genre in GENRES for number, part in enumerate(parts, FIRST_NUMBER)]
    rows = [("key", "part"), *((key_of(f"{genre}.{number:05d}"), part) for genre, number, part in clips)]
    interrupted = any(folder.glob(f"{_UNFINISHED}*"))  # a killed call may have left the split without clips
    n_bytes = round(2 * RATE * clip_s * len(clips))
    with (
        writing(folder, n_bytes),
        created(folder, n_bytes=n_bytes),
        scratch(folder, _UNFINISHED, n_bytes) as unfinished,
    ):
        if genres.exists() or (split.exists() and not interrupted):
            raise UserError(
                f"{folder} holds {genres.name} or {split.name} already; remove them or choose another folder"
            )
        for done, (genre, number, part) in enumerate(clips, 1):
            path = unfinished / genres.name / genre / f"{genre}.{number:05d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_wav(synthesise(genre, number, part=part, clip_s=clip_s, seed=seed)))
            if progress:
                progress(done, len(clips))
        try:
            write_text(split, "".join(",".join(row) + "\n" for row in rows))
            (unfinished / genres.name).rename(genres)
        except BaseException:
            split.unlink(missing_ok=True)
            raise
    return genres, split


def _wav(audio: Audio) -> bytes:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(audio * 32_767).astype("<i2").tobytes())
    return data.getvalue()
