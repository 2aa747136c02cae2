"""Other libraries' versions of each augmentation, called as their documentation says."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from threading import get_ident
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchaudio import functional

from benchmarks.lib.contest import TORCHAUDIO, Contender, Run, need
from gtzan_stream.augment.draw import Draw

RATE = 22050
N_FFT, HOP = 2048, 512
SOXR = "soxr at its high quality, which always computes in float32"
VOCODER = "a phase vocoder that loses about 3 dB and blurs attacks"
ANOTHER = "another algorithm, signalsmith-stretch, in float32 only"


def on_numpy(function: Callable[[np.ndarray, float], np.ndarray], parameter: str | None = None) -> Run:
    """Turn a function of one clip [time] and its value of `parameter` in the draw into a `Run`."""

    def run(waveform: Tensor, draw: Draw) -> Sequence[Tensor]:
        values = draw.values[parameter] if parameter else np.zeros(len(draw))
        return [torch.from_numpy(function(row.cpu().numpy(), v)) for row, v in zip(waveform, values, strict=True)]

    return run


def on_torch(function: Callable[[Tensor, float], Tensor], parameter: str | None = None) -> Run:
    """Turn a function of one clip [1, time] and its value of `parameter` in the draw into a `Run`."""

    def run(waveform: Tensor, draw: Draw) -> Sequence[Tensor]:
        values = draw.values[parameter] if parameter else np.zeros(len(draw))
        return [function(row[None], float(v))[0] for row, v in zip(waveform, values, strict=True)]

    return run


def librosa(operation: str) -> Contender | None:
    """Return librosa's `operation`; None if it has none."""
    need("librosa")
    from librosa import effects, resample

    runs = {
        "time stretch": on_numpy(lambda x, rate: effects.time_stretch(x, rate=rate), "rate"),
        "pitch shift": on_numpy(lambda x, n: effects.pitch_shift(x, sr=RATE, n_steps=n), "n_steps"),
        "percussive": on_numpy(lambda x, _: effects.percussive(x)),
        "speed": on_numpy(lambda x, rate: resample(x, orig_sr=RATE, target_sr=round(RATE / rate)), "rate"),
    }
    exact = {name: run for name, run in runs.items() if name != "speed"}
    notes = {"time stretch": VOCODER, "pitch shift": VOCODER, "speed": SOXR}
    return _contender("librosa", runs, exact, operation, notes)


def audiomentations(operation: str) -> Contender | None:
    """Return audiomentations' `operation`; None if it has none. It has no float64, so `exact` repeats its formulas."""
    runs = {
        "time stretch": on_numpy(lambda x, rate: of_audiomentations("TimeStretch", rate)(x, RATE), "rate"),
        "pitch shift": on_numpy(lambda x, n: of_audiomentations("PitchShift", n)(x, RATE), "n_steps"),
        "speed": on_numpy(lambda x, rate: of_audiomentations("Resample", round(RATE / rate))(x, RATE), "rate"),
        "noise": on_numpy(lambda x, std: of_audiomentations("AddGaussianNoise", std)(x, RATE), "std"),
        "shift": on_numpy(lambda x, n: of_audiomentations("Shift", int(n))(x, RATE), "shift"),
        "gain": on_numpy(lambda x, g: of_audiomentations("Gain", 20 * math.log10(g))(x, RATE), "gain"),
    }
    exact = {
        "noise": on_numpy(lambda x, std: x + std * np.random.randn(*x.shape), "std"),  # noqa: NPY002
        "shift": on_numpy(lambda x, n: np.roll(x, int(n)), "shift"),
        "gain": on_numpy(lambda x, g: x * g, "gain"),
    }
    notes = {"time stretch": ANOTHER, "pitch shift": ANOTHER, "speed": SOXR}
    return _contender("audiomentations", runs, exact, operation, notes)


def of_torchaudio(operation: str) -> Contender | None:
    """Return torchaudio's `operation`; None if it has none. It takes one rate per call."""
    runs = {
        "time stretch": on_torch(torchaudio_stretch, "rate"),
        "pitch shift": on_torch(lambda x, n: functional.pitch_shift(x, RATE, n), "n_steps"),  # type: ignore[arg-type]
        "speed": on_torch(lambda x, rate: functional.resample(x, RATE, round(RATE / rate)), "rate"),
        "gain": on_torch(lambda x, g: functional.gain(x, 20 * math.log10(g)), "gain"),
    }
    notes = {
        "time stretch": VOCODER,
        "pitch shift": VOCODER,
        "speed": "a filter of 6 zero crossings a side, where ours has 54",
    }
    return _contender(TORCHAUDIO, runs, runs, operation, notes)


def torchaudio_stretch(waveform: Tensor, rate: float) -> Tensor:
    """Stretch by torchaudio's phase vocoder and torch's STFT: [batch, time] to [batch, time / rate]."""
    window = torch.hann_window(N_FFT, dtype=waveform.dtype, device=waveform.device)
    spectrogram = torch.stft(waveform, N_FFT, HOP, window=window, pad_mode="constant", return_complex=True)
    advance = torch.linspace(0, math.pi * HOP, N_FFT // 2 + 1, dtype=waveform.dtype, device=waveform.device)[:, None]
    stretched = functional.phase_vocoder(spectrogram, rate, advance)
    return torch.istft(stretched, N_FFT, HOP, window=window, length=round(waveform.shape[-1] / rate))


def torch_audiomentations(operation: str) -> Contender | None:
    """Return torch-audiomentations' `operation` on a batch; None if it has none."""
    need("torch_audiomentations")

    def run(waveform: Tensor, draw: Draw) -> Sequence[Tensor]:
        value = next(iter(draw.values.values()), np.zeros(1))[0]
        return _of_torch(operation, float(value))(waveform[:, None], sample_rate=RATE).samples[:, 0]

    runs = dict.fromkeys(("pitch shift", "noise", "shift", "gain"), run)
    exact = {
        "shift": on_torch(lambda x, n: x.roll(int(n), 1), "shift"),
        "gain": on_torch(lambda x, g: x * g, "gain"),
    }
    notes = {
        "pitch shift": "the nearest ratio it has, 10/9 (1.82 semitones), in float32 only",
        "noise": "one second of noise, repeated; at 40 dB below the clip; in float32 only",
    }
    return _contender("torch-audiomentations", runs, exact, operation, notes)


def plain_torch(operation: str) -> Contender | None:
    """Return `operation` written in one line of torch; None if it takes more."""
    runs = {
        "noise": lambda x, draw: x + 0.005 * torch.randn_like(x),
        "shift": lambda x, draw: x.roll(int(draw.values["shift"][0]), 1),
        "gain": lambda x, draw: x * float(draw.values["gain"][0]),
    }
    exact = {name: run for name, run in runs.items() if name != "noise"}
    notes = {"noise": "random numbers depend on the batch, and differ in float64"}
    return _contender("torch", runs, exact, operation, notes)


ON_CPU = (librosa, audiomentations, of_torchaudio, torch_audiomentations, plain_torch)
ON_CUDA = (of_torchaudio, torch_audiomentations, plain_torch)


def of(operation: str, device: torch.device) -> Iterator[Contender]:
    """Yield the other libraries that do `operation` on `device`."""
    for library in ON_CUDA if device.type == "cuda" else ON_CPU:
        contender = library(operation)
        if contender is not None:
            yield contender


def _contender(
    library: str, runs: dict[str, Any], exact: dict[str, Any], operation: str, notes: dict[str, str] | None = None
) -> Contender | None:
    if operation not in runs:
        return None
    note = (notes or {}).get(operation, "")
    return Contender(library=library, run=runs[operation], exact=exact.get(operation), note=note)


def cached_by_thread(make: Callable[..., Any]) -> Callable[..., Any]:
    """Cache results per thread, because these libraries' transforms keep state between calls."""
    cached = cache(lambda thread, *settings: make(*settings))
    return lambda *settings: cached(get_ident(), *settings)


@cached_by_thread
def of_audiomentations(name: str, value: float) -> Any:
    import audiomentations as library

    more: dict[str, Any] = {
        "TimeStretch": {"leave_length_unchanged": False},
        "Shift": {"shift_unit": "samples", "fade_duration": 0.0},
    }
    return getattr(library, name)(value, value, p=1.0, **more.get(name, {}))


@cached_by_thread
def _of_torch(operation: str, value: float) -> Any:
    import torch_audiomentations as library

    common: dict[str, Any] = {"p": 1.0, "sample_rate": RATE, "output_type": "dict"}
    if operation == "pitch shift":
        return library.PitchShift(value - 0.5, value + 0.5, **common)
    if operation == "noise":
        return library.AddColoredNoise(40.0, 40.0, 0.0, 0.0, **common)
    if operation == "shift":
        return library.Shift(int(value), int(value), shift_unit="samples", **common)
    decibels = 20 * math.log10(value)
    return library.Gain(decibels, decibels + 1e-6, **common)  # the range must not be empty
