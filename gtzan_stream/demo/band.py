"""Play a style: choose patterns, chords and instruments at random, place the notes in time, and mix."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gtzan_stream.demo.styles import QUALITIES, Part, Style
from gtzan_stream.demo.synth import DRUMS, RATE, TIMBRES, Audio, chord, room, tilt

BAR = 16  # steps
VELOCITY = {"X": 1.0, "x": 0.7, "o": 0.35}
OMIT = 0.06
"""Probability that a note of a pattern is not played."""
REPLACE = 0.15
"""Probability that a part's usual instrument is replaced by another of its list."""


@dataclass(frozen=True)
class _Grid:
    """Times of the steps (sixteenth notes). A clip begins `begin_s` seconds after the start of its first bar."""

    step_s: float
    swing: float
    begin_s: float
    length: int

    @property
    def steps(self) -> int:
        """Number of steps in the whole bars that cover the clip."""
        return BAR * int(np.ceil((self.length / RATE + self.begin_s) / (self.step_s * BAR)))

    def sample(self, step: int) -> int:
        """Return the sample at which a step sounds. Swing delays the middle of a beat by up to a sixth of a beat."""
        beat, quarter = divmod(step, 4)
        late = self.swing / 6 * (1 - abs(quarter / 2 - 1))
        return round(((beat + quarter / 4 + late) * 4 * self.step_s - self.begin_s) * RATE)


def play(style: Style, rng: np.random.Generator, *, tempo_bpm: float, tonic: float, length: int) -> Audio:
    """Play one clip of a style.

    Parameters
    ----------
    style : Style
    rng : numpy Generator
        Source of all random choices.
    tempo_bpm : float
    tonic : float
        MIDI number of the key note.
    length : int
        Samples at `synth.RATE`.

    Returns
    -------
    ndarray [length], float32
        RMS is 1, not counting the crackle.
    """
    step_s = 60 / tempo_bpm / 4
    grid = _Grid(step_s, rng.uniform(*style.swing), rng.uniform(0, BAR * step_s), length)
    chords = _chords(style, rng, grid.steps)
    scale = style.scales[rng.integers(len(style.scales))]
    mix = np.zeros(length, np.float32)
    for part in style.parts:
        if rng.random() < part.chance:
            _blend(mix, _play_part(part, rng, grid, chords, scale, tonic), part.gain, rng)
    if style.drums:
        _blend(mix, _play_drums(style.drums[rng.integers(len(style.drums))], rng, grid), style.drum_gain, rng)
    mix = tilt(mix, rng.uniform(0.0, 0.4))
    mix = room(mix, rng, style.wet * rng.uniform(0.5, 1.5), style.reverb_s * rng.uniform(0.7, 1.4))
    mix /= _rms(mix)
    return mix + style.crackle * _crackle(rng, length) if style.crackle else mix


def _rms(audio: Audio) -> float:
    return float(np.sqrt(np.mean(audio**2))) + 1e-9


def _blend(mix: Audio, audio: Audio, gain: float, rng: np.random.Generator) -> None:
    mix += np.float32(gain * rng.uniform(0.8, 1.25) / _rms(audio)) * audio


def _add(bus: Audio, sound: Audio, start: int, velocity: float) -> None:
    """Add the part of a sound that lies within a bus."""
    first, last = max(0, start), min(len(bus), start + len(sound))
    if first < last:
        bus[first:last] += np.float32(velocity) * sound[first - start : last - start]


def _chords(style: Style, rng: np.random.Generator, steps: int) -> list[tuple[int, tuple[int, ...]]]:
    """Return the chord of every step: its root in semitones above the key note, and its tones above the root.

    The progression starts at a random chord.
    """
    names = style.progressions[rng.integers(len(style.progressions))].split()
    begin = rng.integers(len(names))
    chords = []
    for step in range(steps):
        root, quality = names[(begin + step // BAR) % len(names)].split("/")
        chords.append((int(root), QUALITIES[quality]))
    return chords


def _hits(patterns: tuple[str, ...], rng: np.random.Generator, steps: int) -> list[tuple[int, str]]:
    """Draw the steps and signs to play: one pattern in most bars, another one in every fourth bar."""
    usual, other = rng.choice(len(patterns), 2)
    hits = []
    for bar in range(steps // BAR):
        pattern = patterns[other if bar % 4 == 3 else usual]
        hits += [(bar * BAR + i, sign) for i, sign in enumerate(pattern) if sign != "." and rng.random() >= OMIT]
    return hits


def _play_part(
    part: Part, rng: np.random.Generator, grid: _Grid, chords: list, scale: tuple[int, ...], tonic: float
) -> Audio:
    names = part.timbres[1:] if len(part.timbres) > 1 and rng.random() < REPLACE else part.timbres[:1]
    timbre = TIMBRES[names[rng.integers(len(names))]].varied(rng)
    bus = np.zeros(grid.length, np.float32)
    sounds: dict[tuple, Audio] = {}
    hits = _hits(part.patterns, rng, grid.steps)
    walk = _walk(rng)
    for (step, sign), (following, _) in pairwise([*hits, (grid.steps, "")]):
        pitches = tuple(tonic + part.transpose + tone for tone in _tones(sign, chords[step], scale, walk, rng))
        length = int(min(following - step, part.hold) * grid.step_s * RATE)
        if (pitches, length) not in sounds:
            sounds[pitches, length] = chord(timbre, pitches, length)
        jitter = int(rng.normal(0, 0.004) * RATE)
        _add(bus, sounds[pitches, length], grid.sample(step) + jitter, rng.uniform(0.75, 1.0))
    return bus


def _walk(rng: np.random.Generator) -> Iterator[int]:
    """Yield the scale degrees of a melody: a random walk within about an octave."""
    degree = int(rng.integers(0, 5))
    while True:
        yield degree
        degree = int(np.clip(degree + rng.choice((-2, -1, -1, 0, 1, 1, 2, 3)), -2, 8))


def _tones(
    sign: str,
    harmony: tuple[int, tuple[int, ...]],
    scale: tuple[int, ...],
    walk: Iterator[int],
    rng: np.random.Generator,
) -> tuple[int, ...]:
    """Return the semitones above the key note that a pattern's sign asks for."""
    root, tones = harmony
    root = root if root < 7 else root - 12  # voice the root within half an octave of the key note
    if sign in "xX":
        return tuple(root + tone for tone in tones)
    if sign == "m":
        octave, degree = divmod(next(walk), len(scale))
        return (12 * octave + scale[degree],)
    octave, index = divmod(int(rng.integers(len(tones))) if sign == "w" else int(sign), len(tones))
    return (root + 12 * octave + tones[index],)


def _play_drums(pattern: dict[str, str], rng: np.random.Generator, grid: _Grid) -> Audio:
    bus = np.zeros(grid.length, np.float32)
    for name, line in pattern.items():
        sound = DRUMS[name](rng) * np.float32(rng.uniform(0.6, 1.4))
        for step, sign in _hits((line,), rng, grid.steps):
            jitter = int(rng.normal(0, 0.002) * RATE)
            _add(bus, sound, grid.sample(step) + jitter, VELOCITY[sign] * rng.uniform(0.85, 1.1))
    return bus


def _crackle(rng: np.random.Generator, length: int) -> Audio:
    """Make the crackle of an old record, about twenty clicks a second."""
    dust = np.zeros(length, np.float32)
    clicks = rng.integers(0, length, 20 * length // RATE)
    dust[clicks] = rng.normal(0, 1.5, len(clicks))
    return dust
