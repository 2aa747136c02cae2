"""Recipes: augmentations that can be chosen by name."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.compose import Compose, Identity, OneOf
from gtzan_stream.augment.external import Audiomentations
from gtzan_stream.augment.gain import Gain
from gtzan_stream.augment.noise import GaussianNoise
from gtzan_stream.augment.percussive import Percussive
from gtzan_stream.augment.pitch import PitchShift
from gtzan_stream.augment.shift import TimeShift
from gtzan_stream.augment.speed import SpeedPerturb
from gtzan_stream.augment.stretch import TimeStretch
from gtzan_stream.errors import UserError
from gtzan_stream.registry import build_by_name
from gtzan_stream.words import short_repr


def _seven() -> list[Transform]:
    """Build the study's seven augmentations, with the ranges of its code and librosa's phase vocoder."""
    return [
        GaussianNoise(0.005, 0.005),
        TimeShift(1600, 1600),
        TimeStretch(0.9, 1.1, method="vocoder"),
        PitchShift(0.0, 4.0, method="vocoder"),
        SpeedPerturb(1.0, 1.25),
        Gain(1.5, 3.0),
        Percussive(),
    ]


def study() -> Transform:
    """Build the study's recipe: nothing or one of its seven augmentations, with equal probability."""
    return OneOf([Identity(), *_seven()])


def only(name: str) -> Transform:
    """Build a recipe of one of the study's augmentations, applied to half of the examples."""
    return OneOf([Identity(), *(transform for transform in _seven() if type(transform).__name__ == name)])


def without(name: str) -> Transform:
    """Build the study's recipe without one of its augmentations."""
    return OneOf([Identity(), *(transform for transform in _seven() if type(transform).__name__ != name)])


def strong() -> Transform:
    """Build a chain for classification, with wider ranges and several augmentations per example.

    Each example gets at most one change of tempo or pitch, since the artefacts of two would add up. The percussive
    part is rare, because it is the slowest and changes the sound the most. Gain and noise imitate other recordings.
    """
    tempo_or_pitch = OneOf(
        [TimeStretch(0.8, 1.25), PitchShift(-4.0, 4.0), SpeedPerturb(0.8, 1.25)], weights=[0.3, 0.3, 0.4], p=0.7
    )
    return Compose(
        [
            TimeShift(-256, 255),
            tempo_or_pitch,
            Percussive(p=0.05),
            Gain.in_db(-12.0, 6.0, p=0.8),
            GaussianNoise(0.0, 0.01, p=0.3),
        ]
    )


def audiomentations_study() -> Transform:
    """Build the study's recipe from transforms of audiomentations, which has no percussive transform."""
    try:
        import audiomentations  # imported here because it is optional, and slow to import
    except ImportError as error:
        raise UserError(
            f"the recipe audiomentations needs the library of that name ({error}): "
            "pip install 'gtzan-stream[audiomentations]', or choose another recipe"
        ) from error

    return Audiomentations(
        audiomentations.OneOf(
            [
                audiomentations.AddGaussianNoise(0.005, 0.005, p=1.0),
                audiomentations.Shift(1600, 1600, shift_unit="samples", fade_duration=0.0, p=1.0),
                audiomentations.TimeStretch(0.9, 1.1, p=1.0),
                audiomentations.PitchShift(0.0, 4.0, p=1.0),
                audiomentations.Resample(17640, 22050, p=1.0),  # of 22,050 Hz: rates of 1.25 to 1
                audiomentations.Gain(3.52, 9.54, p=1.0),  # dB: factors of 1.5 to 3
            ]
        ),
        p=6 / 7,  # nothing or one of the six, with equal probability
    )


RECIPES: dict[str, Callable[[], Transform]] = {
    "none": Identity,
    "study": study,
    "strong": strong,
    "audiomentations": audiomentations_study,
}


VARIANTS: dict[str, Callable[[str], Transform]] = {"only": only, "without": without}
"""Variants of the study's recipe: ``only:NAME`` and ``without:NAME``."""


def names() -> list[str]:
    """Return the names of the recipes; ``only:NAME``, ``without:NAME`` and ``module:function`` are valid too."""
    return list(RECIPES)


def study_names() -> list[str]:
    """Return the names that ``only:NAME`` and ``without:NAME`` take: the study's seven augmentations."""
    return [type(transform).__name__ for transform in _seven()]


def check(name: str) -> None:
    """Raise UserError, which lists the recipes, if `name` is not valid. ``module:function`` is not imported."""
    prefix, _, rest = name.partition(":")
    is_function = prefix not in VARIANTS and prefix and rest
    if not (is_function or name in RECIPES or (prefix in VARIANTS and rest in study_names())):
        raise UserError(
            f"no augmentation is called {short_repr(name)}; there are {', '.join(names())}, and only:NAME and "
            f"without:NAME with one of {', '.join(study_names())}, and module:function for one of your own"
        )


def recipe(name: str) -> Transform:
    """Build the augmentation called `name`.

    Parameters
    ----------
    name : str
        One of `names`; or ``only:NAME`` or ``without:NAME`` with one of `study_names`; or ``module:function``, a
        function without arguments that returns a `Transform`.

    Raises
    ------
    UserError
        If there is no such augmentation, or the function returns something else.

    Examples
    --------
    >>> recipe("study").draw(["blues_00000"], seed=0, epoch=3).describe(0) == "unchanged"
    False
    """
    check(name)
    prefix, _, rest = name.partition(":")
    if prefix in VARIANTS:
        return VARIANTS[prefix](rest)
    built = build_by_name(name, RECIPES, "augmentation")
    if not isinstance(built, Transform):
        raise UserError(f"augmentation {name}: it should return a Transform, it returned {type(built).__name__}")
    return built


def as_transform(augment: object) -> Transform:
    """Return `augment` if it is a transform, or build the recipe of that name.

    Raises
    ------
    UserError
        If `augment` is neither; the message says what to write instead.
    """
    if isinstance(augment, Transform):
        return augment
    if isinstance(augment, str):
        return recipe(augment)
    if isinstance(augment, type) and issubclass(augment, Transform):
        raise UserError(f"augment: got the class {augment.__name__}: write {augment.__name__}()")
    if augment is None:
        raise UserError('augment: got None: for no augmentation, write augment="none"')
    name = augment.__name__ if isinstance(augment, type | FunctionType) else type(augment).__name__
    raise UserError(
        f"augment: expected a recipe's name or a Transform of gtzan_stream.augment, got {name}; wrap it in a subclass: "
        "class Mine(Transform), with def compute(self, waveform, draw, length): return f(waveform[:, :length]), "
        "or a function of (samples, sample_rate) in Audiomentations(function)"
    )
