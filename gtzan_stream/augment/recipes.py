"""Named augmentations: what people choose with one word."""

from __future__ import annotations

from collections.abc import Callable

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


def _seven() -> list[Transform]:
    """The study's augmentations, in the ranges of its code."""
    return [
        GaussianNoise(0.005, 0.005),
        TimeShift(1600, 1600),
        TimeStretch(0.9, 1.1),
        PitchShift(0.0, 4.0),
        SpeedPerturb(0.8, 1.0),
        Gain(1.5, 3.0),
        Percussive(),
    ]


def study() -> Transform:
    """One of nothing and the study's seven, each as often as the others."""
    return OneOf([Identity(), *_seven()])


def only(name: str) -> Transform:
    """The study's augmentation called `name`, or nothing, the one as often as the other."""
    return OneOf([Identity(), *(transform for transform in _seven() if type(transform).__name__ == name)])


def without(name: str) -> Transform:
    """The study's recipe without the augmentation called `name`."""
    return OneOf([Identity(), *(transform for transform in _seven() if type(transform).__name__ != name)])


def strong() -> Transform:
    """A chain for genres: what a genre survives, in wider ranges, several at once.

    At most one change of tempo or pitch for each example, since artefacts of two vocoders add up; then the drums
    alone, rarely, as they are the dearest and change the most; then level and hiss, as of another recording.
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


def other_library() -> Transform:
    """The study's, as far as audiomentations has them (it has no percussive part), in worker processes."""
    try:
        import audiomentations  # only here: it is an optional dependency, and slow to import
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
                audiomentations.Resample(17640, 22050, p=1.0),
                audiomentations.Gain(3.52, 9.54, p=1.0),
            ]
        ),
        p=6 / 7,
    )


RECIPES: dict[str, Callable[[], Transform]] = {
    "none": Identity,
    "study": study,
    "strong": strong,
    "audiomentations": other_library,
}


PARTS: dict[str, Callable[[str], Transform]] = {"only": only, "without": without}
"""Of the study's recipe: ``only:NAME`` and ``without:NAME``."""


def names() -> list[str]:
    """The names that `recipe` knows, besides those of parts of the study's recipe."""
    return list(RECIPES)


def study_names() -> list[str]:
    """The study's seven, which the recipes ``only:NAME`` and ``without:NAME`` are made for."""
    return [type(transform).__name__ for transform in _seven()]


def check(name: str) -> None:
    """Raise UserError, listing the recipes there are, if `name` is none of them."""
    part, _, transform = name.partition(":")
    if name in RECIPES or (part in PARTS and transform in study_names()):
        return
    raise UserError(
        f"no augmentation is called {name!r}; there are {', '.join(names())}, and only:NAME and without:NAME "
        f"with one of {', '.join(study_names())}"
    )


def recipe(name: str) -> Transform:
    """Build the augmentation called `name`.

    Parameters
    ----------
    name : str
        One of `names`, or ``only:NAME`` or ``without:NAME`` with one of `study_names`.

    Raises
    ------
    UserError
        If there is none of that name.

    Examples
    --------
    >>> recipe("study").draw(["blues_00000"], seed=0, epoch=3).describe(0) == "unchanged"
    False
    """
    check(name)
    part, _, transform = name.partition(":")
    return PARTS[part](transform) if transform else RECIPES[name]()
