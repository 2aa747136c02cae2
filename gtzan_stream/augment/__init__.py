"""Augmentations: batched, on any device, with random parameters for each example."""

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.compose import Compose, Identity, OneOf
from gtzan_stream.augment.draw import Draw, Examples, Source
from gtzan_stream.augment.external import Audiomentations
from gtzan_stream.augment.gain import Gain
from gtzan_stream.augment.noise import GaussianNoise
from gtzan_stream.augment.percussive import Percussive
from gtzan_stream.augment.pipeline import stage
from gtzan_stream.augment.pitch import PitchShift
from gtzan_stream.augment.recipes import names, recipe
from gtzan_stream.augment.shift import TimeShift
from gtzan_stream.augment.speed import SpeedPerturb
from gtzan_stream.augment.stretch import TimeStretch

__all__ = [
    "Audiomentations",
    "Compose",
    "Draw",
    "Examples",
    "Gain",
    "GaussianNoise",
    "Identity",
    "OneOf",
    "Percussive",
    "PitchShift",
    "Source",
    "SpeedPerturb",
    "TimeShift",
    "TimeStretch",
    "Transform",
    "names",
    "recipe",
    "stage",
]
