"""The methods of time stretch and pitch shift that the sound benchmark compares, as their users call them."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.lib.contest import OURS, need
from benchmarks.lib.peers import of_audiomentations
from benchmarks.lib.sound_measures import SAMPLE_RATE
from gtzan_stream.dsp import pitch, stretch
from gtzan_stream.dsp.backend import force, is_importable

VOCODER, PLAIN = f"{OURS}, vocoder", f"{OURS}, plain torch"
Function = Callable[[np.ndarray, float], np.ndarray]
"""(float32 samples [time], rate or semitones) -> samples [time]; offline, on the whole clip."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method and how to call it.

    Attributes
    ----------
    name : str
    stretch, shift : callable
        Time stretch by a rate, and pitch shift by semitones.
    exact : callable or None
        `stretch` in float64; None if the method has no float64.
    crop : callable or None
        (samples of a clip, first sample, rate, output samples) -> a crop of the stretched clip, made from the samples
        that `stretch.source` asks for. None if the method only stretches whole clips.
    hop : int
        Samples between output frames.
    brief : bool
        Whether to measure time stretches of some clips only, as another method computes the same.
    """

    name: str
    stretch: Function
    shift: Function
    exact: Function | None = None
    crop: Callable[[np.ndarray, int, float, int], np.ndarray] | None = None
    hop: int = 512
    brief: bool = False


def ours(name: str, method: str, backend: str | None = None) -> Method:
    """Return `method` of this package, on the backend that it chooses itself or on `backend`."""

    def on() -> Any:
        return force(backend) if backend else nullcontext()  # type: ignore[arg-type]

    def stretch_clip(samples: np.ndarray, rate: float) -> np.ndarray:
        with on():
            length = round(len(samples) / rate)
            return stretch.time_stretch(torch.from_numpy(samples)[None], rate, length, method=method)[0].numpy()

    def shift_clip(samples: np.ndarray, n_steps: float) -> np.ndarray:
        with on():
            return pitch.pitch_shift(torch.from_numpy(samples)[None], n_steps, len(samples), method=method)[0].numpy()

    def exact(samples: np.ndarray, rate: float) -> np.ndarray:
        length = round(len(samples) / rate)
        return stretch.time_stretch(torch.from_numpy(samples)[None].double(), rate, length, method=method)[0].numpy()

    def crop(samples: np.ndarray, start: int, rate: float, length: int) -> np.ndarray:
        before, total = (int(n[0]) for n in stretch.source(length, np.array([rate]), method=method))
        padded = np.pad(samples, (before, total))[start : start + total]
        with on():
            waveform = torch.from_numpy(padded)[None]
            return stretch.time_stretch(waveform, rate, length, offset=before, method=method)[0].numpy()

    hop = stretch.METHODS[method].HOP
    brief = backend is not None
    return Method(name=name, stretch=stretch_clip, shift=shift_clip, exact=exact, crop=crop, hop=hop, brief=brief)


def librosa() -> Method:
    """Return librosa's phase vocoder."""
    need("librosa")
    from librosa import effects

    def stretch_clip(samples: np.ndarray, rate: float) -> np.ndarray:
        return effects.time_stretch(samples, rate=rate)

    return Method(
        name="librosa",
        stretch=stretch_clip,
        shift=lambda samples, n_steps: effects.pitch_shift(samples, sr=SAMPLE_RATE, n_steps=n_steps),
        exact=lambda samples, rate: stretch_clip(samples.astype(np.float64), rate),
    )


def audiomentations() -> Method:
    """Return audiomentations, of which the default is signalsmith-stretch."""
    need("audiomentations")
    return Method(
        name="audiomentations (signalsmith)",
        stretch=lambda samples, rate: of_audiomentations("TimeStretch", rate)(samples, SAMPLE_RATE),
        shift=lambda samples, n_steps: of_audiomentations("PitchShift", n_steps)(samples, SAMPLE_RATE),
    )


def rubber_band() -> Method:
    """Return the program rubberband with its R3 engine, called by pyrubberband through files of 16 bits."""
    import pyrubberband

    return Method(
        name="Rubber Band R3",
        stretch=lambda samples, rate: pyrubberband.time_stretch(samples, SAMPLE_RATE, rate, rbargs={"--fine": ""}),
        shift=lambda samples, n_steps: pyrubberband.pitch_shift(samples, SAMPLE_RATE, n_steps, rbargs={"--fine": ""}),
    )


def methods() -> Iterator[Method]:
    """Yield every method; says in one line if Rubber Band is not installed."""
    yield ours(OURS, "locked")
    yield ours(PLAIN, "locked", "torch")
    yield ours(VOCODER, "vocoder")
    yield librosa()
    yield audiomentations()
    if shutil.which("rubberband") and is_importable("pyrubberband"):
        yield rubber_band()
    else:
        print("Rubber Band is left out: it needs the program rubberband (rubberband-cli) and pip install pyrubberband")
