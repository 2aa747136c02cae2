"""Functions that tests send to worker processes. They do not import torch, so that the processes start quickly."""

import os
import random
import signal
import sys
import time
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


def as_stereo(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    return np.stack([samples, samples])


def as_int16(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    return (32767 * samples).astype(np.int16)


def as_nothing(samples: np.ndarray, sample_rate: int) -> None:
    pass


def as_file(samples: np.ndarray, sample_rate: int) -> Any:
    """Return something that cannot be pickled."""
    return sys.stderr


def as_nan(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    samples[3] = np.nan
    return samples


def as_large_number(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    wide = samples.astype(np.float64)
    wide[3] = 1e300
    return wide


def by_first_sample(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Double the samples, or fail in the way that the first sample names (see `FAULTS`)."""
    fault = FAULTS.get(int(samples[0]))
    if fault is not None:
        fault()
    return 2 * samples


def hang() -> None:
    print("begin to wait")
    time.sleep(1000)


def raise_error() -> None:
    raise KeyError("second line\nis left out")


def kill_self() -> None:
    os.write(2, b"last words, without a line end")
    os.kill(os.getpid(), signal.SIGKILL)


def print_much() -> None:
    """Write to stdout and stderr from Python, by descriptor and from another program, and read stdin."""
    print("from Python")
    print("to stderr", file=sys.stderr)
    os.write(1, b"by descriptor\n" * 5000)
    os.system("echo from a program; cat")
    assert sys.stdin.read() == ""


def exit_in_child() -> None:
    """Leave a process behind that has all pipes open, and exit."""
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(4)


FAULTS = {
    2: raise_error,
    3: lambda: os._exit(3),
    4: lambda: sys.exit("no licence"),
    5: kill_self,
    6: hang,
    7: print_much,
    8: exit_in_child,
}


def exits_if_loud(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    if is_loud(samples):
        os._exit(3)
    return 2 * samples


def fails_if_loud(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    if is_loud(samples):
        raise RuntimeError("too loud")
    return 2 * samples


def is_loud(samples: np.ndarray) -> bool:
    """Return True for one crop in about eight."""
    return int(np.abs(samples[:1000]).sum() * 1e4) % 8 == 0
