"""A registry of test cases that covers every transform. The tests of test_augment_properties.py run over `REGISTRY`.

A transform of the package without a case here is added with its default arguments.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import jaxtyping
import numpy as np
import torch
from torch import Tensor

from gtzan_stream import augment
from gtzan_stream.augment import (
    Audiomentations,
    Compose,
    Gain,
    GaussianNoise,
    Identity,
    OneOf,
    Percussive,
    PitchShift,
    SpeedPerturb,
    TimeShift,
    TimeStretch,
    Transform,
    recipe,
)

REGISTRY: dict[str, Callable[[float], Transform]] = {
    "gain": lambda p: Gain(0.2, 3.0, p=p),
    "gain_in_db": lambda p: Gain.in_db(-30.0, 10.0, p=p),
    "noise": lambda p: GaussianNoise(0.001, 0.1, p=p),
    "shift": lambda p: TimeShift(-2000, 3000, p=p),
    "stretch": lambda p: TimeStretch(0.8, 1.3, p=p),
    "pitch": lambda p: PitchShift(-5.0, 5.0, p=p),
    "speed": lambda p: SpeedPerturb(0.8, 1.25, p=p),
    "percussive": lambda p: Percussive(p=p),
    "one_of": lambda p: OneOf([TimeStretch(0.9, 1.1), Gain(2.0, 3.0), TimeShift(5, 500)], weights=[1.0, 2.0, 1.0], p=p),
    "compose": lambda p: Compose(
        [TimeStretch(0.8, 1.2, p=0.5), SpeedPerturb(0.8, 1.2), Percussive(p=0.5), TimeShift(-700, 700)], p=p
    ),
    "nested": lambda p: Compose([OneOf([Identity(), recipe("study")]), Gain(0.5, 2.0, p=0.5)], p=p),
    "study": lambda p: Compose([recipe("study")], p=p),
    "strong": lambda p: Compose([recipe("strong")], p=p),
}


def classes_in(transform: Transform) -> set[type]:
    """Return the classes of a transform and of all transforms inside it."""
    return {type(module) for module in transform.modules() if isinstance(module, Transform)}


PUBLIC = [
    value
    for value in (getattr(augment, name) for name in augment.__all__)
    if isinstance(value, type) and issubclass(value, Transform) and value is not Transform
]
COVERED = set().union(*(classes_in(make(1.0)) for make in REGISTRY.values()))
ELSEWHERE = {Audiomentations}  # wraps a transform of another library: see test_augment_external.py
REGISTRY |= {cls.__name__: partial(lambda cls, p: cls(p=p), cls) for cls in PUBLIC if cls not in COVERED | ELSEWHERE}


def keys(n: int) -> list[str]:
    return [f"blues_{i:05d}" for i in range(n)]


def music(batch: int, time: int, seed: int = 0) -> Tensor:
    """Return chords, clicks and hiss that differ in each row, float32 [batch, time]."""
    generator = np.random.default_rng(seed)
    t = np.arange(time) / 22050
    tones = sum(
        0.1 * np.sin(2 * np.pi * f * t + generator.uniform(0, 6, (batch, 1)))
        for f in generator.uniform(80, 4000, (5, batch, 1))
    )
    clicks = np.where(generator.random((batch, time)) < 1e-3, 0.7, 0.0)
    hiss = 1e-3 * generator.standard_normal((batch, time))
    return torch.from_numpy((tones + clicks + hiss).astype(np.float32))


@contextmanager
def untyped() -> Iterator[None]:
    """Turn off the type checks of the tests, so that the package's own checks are reached as in production."""
    was_disabled = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", was_disabled)
