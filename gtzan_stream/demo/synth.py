"""Instruments of the demo set: wavetable tones, and drums made of noise and gliding sines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

RATE = 22_050
TABLE_BITS = 11
"""A wavetable has 2**11 samples."""
PARTIALS = 64
"""Largest number of partials of a tone."""

Audio = np.ndarray
"""One-dimensional float32 samples at `RATE`."""


@dataclass(frozen=True, kw_only=True)
class Timbre:
    """A pitched instrument. Partial k has the amplitude k ** -rolloff, times `even` for even k."""

    rolloff: float
    even: float = 1.0
    attack_s: float = 0.005
    decay_s: float = 8.0
    bite: float = 0.0
    """Gain of a brighter copy of the tone that decays in 60 ms: the attack of a pluck, a hammer or a tongue."""
    voices: int = 1
    detune_cents: float = 0.0
    vibrato_cents: float = 0.0
    drive: float = 0.0
    """Gain before a tanh distortion of the whole chord; 0 for no distortion."""

    def varied(self, rng: np.random.Generator) -> "Timbre":
        """Return a random variation of this instrument."""
        return replace(
            self,
            rolloff=self.rolloff * rng.uniform(0.85, 1.15),
            even=self.even * rng.uniform(0.7, 1.1),
            attack_s=self.attack_s * rng.uniform(0.6, 1.5),
            decay_s=self.decay_s * rng.uniform(0.7, 1.4),
            bite=self.bite * rng.uniform(0.5, 1.5),
            detune_cents=self.detune_cents * rng.uniform(0.5, 1.5),
            vibrato_cents=self.vibrato_cents * rng.uniform(0.5, 1.5),
            drive=self.drive * rng.uniform(0.6, 1.5),
        )


TIMBRES = {
    "acoustic guitar": Timbre(rolloff=1.3, decay_s=0.5, bite=0.5, attack_s=0.002),
    "bass guitar": Timbre(rolloff=1.5, decay_s=0.8, bite=0.2),
    "brass": Timbre(rolloff=1.0, attack_s=0.04, vibrato_cents=10.0),
    "clean guitar": Timbre(rolloff=1.7, decay_s=0.7, bite=0.3, attack_s=0.003),
    "distorted guitar": Timbre(rolloff=1.1, decay_s=3.0, voices=2, detune_cents=6.0, drive=4.0),
    "double bass": Timbre(rolloff=1.9, decay_s=0.5, bite=0.1, attack_s=0.01),
    "electric piano": Timbre(rolloff=2.2, even=0.5, decay_s=1.2, bite=0.3),
    "flute": Timbre(rolloff=2.6, attack_s=0.06, vibrato_cents=20.0),
    "high-gain guitar": Timbre(rolloff=0.6, decay_s=3.0, voices=2, detune_cents=8.0, drive=5.0),
    "harmonica": Timbre(rolloff=1.0, even=0.5, attack_s=0.03, vibrato_cents=15.0),
    "organ": Timbre(rolloff=1.2, even=1.4, vibrato_cents=6.0),
    "piano": Timbre(rolloff=1.7, decay_s=1.0, bite=0.5, attack_s=0.002),
    "saxophone": Timbre(rolloff=1.1, even=0.8, attack_s=0.03, vibrato_cents=25.0, drive=0.8),
    "strings": Timbre(rolloff=1.2, attack_s=0.12, voices=3, detune_cents=9.0, vibrato_cents=12.0),
    "sub bass": Timbre(rolloff=3.2, decay_s=0.9, attack_s=0.008, drive=0.8),
    "synth lead": Timbre(rolloff=1.0, even=0.3, voices=2, detune_cents=7.0, decay_s=1.5),
    "synth pad": Timbre(rolloff=1.5, attack_s=0.15, voices=3, detune_cents=12.0),
    "warm overdrive": Timbre(rolloff=1.4, decay_s=1.5, bite=0.2, drive=1.5),
}


def chord(timbre: Timbre, pitches: Sequence[float], length: int) -> Audio:
    """Play pitches (MIDI numbers; 69 is 440 Hz) together for `length` samples, with a release of 10 ms.

    >>> tone = chord(Timbre(rolloff=1.0), [69.0], RATE)
    >>> int(np.abs(np.fft.rfft(tone)).argmax())  # the tone lasts one second, so bin n is n Hz
    440
    """
    time = np.arange(length, dtype=np.uint32)
    pluck = np.exp(time * np.float32(-1 / (0.06 * RATE)))
    out = np.zeros(length, np.float32)
    for pitch in pitches:
        for cents in np.linspace(-1, 1, timbre.voices) * timbre.detune_cents if timbre.voices > 1 else (0.0,):
            hertz = 440 * 2 ** ((pitch - 69 + cents / 100) / 12)
            index = _phase(time, hertz, timbre.vibrato_cents) >> np.uint32(32 - TABLE_BITS)
            out += _wave(hertz, timbre.rolloff, timbre.even)[index]
            if timbre.bite:
                out += timbre.bite * pluck * _wave(hertz, timbre.rolloff - 0.8, 1.0)[index]
    if timbre.drive:
        out = np.tanh(timbre.drive * out)
    return out * _envelope(timbre, length)


def _phase(time: np.ndarray, hertz: float, vibrato_cents: float) -> np.ndarray:
    """Return the phase of an oscillator in units of 2**-32 turns, so that integer overflow wraps it."""
    phase = time * np.uint32(hertz / RATE * 2**32)
    if vibrato_cents:
        rate_hz = 5.0
        turns = hertz * (2 ** (vibrato_cents / 1200) - 1) / (2 * np.pi * rate_hz)
        swing = turns * np.sin(time * np.float32(2 * np.pi * rate_hz / RATE))
        phase = phase + (swing * 2**32).astype(np.int64).astype(np.uint32)
    return phase


def _wave(hertz: float, rolloff: float, even: float) -> Audio:
    """Return one period with RMS 1 and no partials above half the sample rate."""
    k = np.arange(1, max(2, min(PARTIALS, int(0.45 * RATE / hertz)) + 1))
    spectrum = np.zeros(2 ** (TABLE_BITS - 1) + 1, np.complex64)
    spectrum[k] = -1j * k**-rolloff * np.where(k % 2, 1.0, even)
    wave = np.fft.irfft(spectrum)
    return (wave / wave.std()).astype(np.float32)


def _envelope(timbre: Timbre, length: int) -> Audio:
    time_s = np.arange(length, dtype=np.float32) / RATE
    end_s = length / RATE
    return np.exp(-time_s / timbre.decay_s) * np.minimum(
        1, np.minimum(time_s / timbre.attack_s, (end_s - time_s) / 0.01)
    )


def _decay(decay_s: float, length_s: float) -> Audio:
    return np.exp(np.arange(int(length_s * RATE), dtype=np.float32) / np.float32(-decay_s * RATE))


def _noise(rng: np.random.Generator, decay_s: float, band_hz: tuple[float, float]) -> Audio:
    """Make decaying noise in a frequency band."""
    envelope = _decay(decay_s, 5 * decay_s)
    hiss = rng.standard_normal(len(envelope), np.float32)
    filtered = sosfilt(butter(2, band_hz, "bandpass", fs=RATE, output="sos"), hiss)
    return (filtered / filtered.std()).astype(np.float32) * envelope


def _glide(from_hz: float, to_hz: float, glide_s: float, decay_s: float) -> Audio:
    """Make a decaying sine with a frequency that falls from `from_hz` to `to_hz`."""
    envelope = _decay(decay_s, 5 * decay_s)
    hertz = to_hz + (from_hz - to_hz) * _decay(glide_s, 5 * decay_s)
    return np.sin(np.cumsum(hertz) * np.float32(2 * np.pi / RATE)) * envelope


def _layer(*sounds: Audio) -> Audio:
    out = np.zeros(max(map(len, sounds)), np.float32)
    for sound in sounds:
        out[: len(sound)] += sound
    return out


def _kick(rng: np.random.Generator) -> Audio:
    low_hz = rng.uniform(42.0, 62.0)
    click = rng.uniform(0.1, 0.4) * _noise(rng, 0.004, (1_500.0, 6_000.0))
    return _layer(2 * _glide(rng.uniform(3.0, 5.0) * low_hz, low_hz, 0.02, rng.uniform(0.07, 0.15)), click)


def _snare(rng: np.random.Generator) -> Audio:
    body_hz = rng.uniform(160.0, 230.0)
    rattle = _noise(rng, rng.uniform(0.05, 0.11), (rng.uniform(700.0, 1_500.0), 8_000.0))
    return _layer(rng.uniform(0.5, 1.0) * _glide(1.5 * body_hz, body_hz, 0.01, 0.06), rattle)


def _clap(rng: np.random.Generator) -> Audio:
    sound = _noise(rng, rng.uniform(0.04, 0.08), (900.0, rng.uniform(2_500.0, 5_000.0)))
    return _layer(sound, *(np.pad(0.7 * sound, (int(delay_s * RATE), 0)) for delay_s in (0.011, 0.023)))


def _cymbal(decay_s: float, low_hz: float) -> Callable[[np.random.Generator], Audio]:
    def strike(rng: np.random.Generator) -> Audio:
        return 0.6 * _noise(rng, decay_s * rng.uniform(0.7, 1.4), (low_hz * rng.uniform(0.8, 1.2), 10_500.0))

    return strike


def _stick(rng: np.random.Generator) -> Audio:
    return _layer(_glide(2_000.0, rng.uniform(1_500.0, 1_900.0), 0.002, 0.012), _noise(rng, 0.01, (1_000.0, 5_000.0)))


DRUMS: dict[str, Callable[[np.random.Generator], Audio]] = {
    "kick": _kick,
    "snare": _snare,
    "clap": _clap,
    "stick": _stick,
    "hat": _cymbal(0.025, 6_500.0),
    "open": _cymbal(0.12, 6_000.0),
    "ride": _cymbal(0.2, 5_000.0),
    "crash": _cymbal(0.4, 3_500.0),
    "brush": _cymbal(0.07, 2_500.0),
    "shaker": _cymbal(0.035, 4_500.0),
}


def tilt(audio: Audio, amount: float, corner_hz: float = 800.0) -> Audio:
    """Amplify (amount > 0) or attenuate the frequencies above a corner, with a first-order shelving filter."""
    a = np.float32(np.exp(-2 * np.pi * corner_hz / RATE))
    low = lfilter(np.array([1 - a], np.float32), np.array([1, -a], np.float32), audio)
    return audio + np.float32(amount) * (audio - low)


def room(audio: Audio, rng: np.random.Generator, wet: float, decay_s: float) -> Audio:
    """Add reverberation: the sound convolved with exponentially decaying noise of energy ``wet**2``."""
    tail = _decay(decay_s, 3 * decay_s)
    tail *= rng.standard_normal(len(tail), np.float32)
    tail *= np.float32(wet / np.sqrt(np.sum(tail**2)))
    return audio + oaconvolve(audio, tail)[: len(audio)].astype(np.float32)
