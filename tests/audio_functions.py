"""Functions that tests send to worker processes: without torch, so that those start quickly."""

import random
import warnings
from typing import Any

import numpy as np


def jitter(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Draws from both global states, and writes to its input."""
    samples *= random.random() + np.random.rand()  # noqa: NPY002
    return samples[: len(samples) - 10]


def unless_silent(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The library, but it fails on silence."""
    if not samples.any():
        raise ValueError("no sound in it")
    return library()(samples, sample_rate)


def exhausted(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    raise RuntimeError("no memory")


def rate_as_sound(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    return np.full_like(samples, sample_rate)


def library() -> Any:
    """A composition of audiomentations, which is optional."""
    with warnings.catch_warnings():  # of its docstrings, when Python compiles them for the first time
        warnings.simplefilter("ignore")
        import audiomentations as am
    return am.Compose(
        [
            am.AddGaussianNoise(0.001, 0.1, p=0.7),
            am.OneOf([am.TimeStretch(0.8, 1.2, p=1.0), am.PitchShift(-4, 4, p=1.0), am.Shift(p=1.0)]),
            am.Gain(p=0.5),
        ]
    )


def louder(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    print("not a result")
    return 2 * samples
