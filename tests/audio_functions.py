"""Functions that tests send to worker processes. They do not import torch, so that the processes start quickly."""

import random
import warnings
from typing import Any

import numpy as np


def jitter(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Draw from both global random generators, and write to the input."""
    samples *= random.random() + np.random.rand()  # noqa: NPY002
    return samples[: len(samples) - 10]


def unless_silent(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Apply `audiomentations_chain`, but fail on silence."""
    if not samples.any():
        raise ValueError("no sound in it")
    return audiomentations_chain()(samples, sample_rate)


def exhausted(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    raise RuntimeError("no memory")


def rate_as_sound(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    return np.full_like(samples, sample_rate)


def audiomentations_chain() -> Any:
    """Build a chain of transforms of audiomentations, which is an optional library."""
    with warnings.catch_warnings():  # about its docstrings, when Python compiles the files
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
