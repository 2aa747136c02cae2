"""The cells of each comparison that benchmarks/accuracy.py trains, and the parsing of its options."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import models
from gtzan_stream.augment import recipes
from gtzan_stream.errors import UserError
from gtzan_stream.normalization import NORMALIZATIONS
from gtzan_stream.training import optimizers


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table: its row, its column, and its options of train.py that are not defaults."""

    row: str
    column: str
    options: dict[str, str]


def of_models(names: Sequence[str]) -> Iterator[Cell]:
    """Yield each network, without augmentation and with the study's."""
    for name in names:
        for augment in ("none", "study"):
            yield Cell(row=name, column=augment, options={"model": name, "augment": augment})


def of_normalization(names: Sequence[str]) -> Iterator[Cell]:
    """Yield each normalisation of the features, for each network."""
    for name in names:
        for kind in NORMALIZATIONS:
            yield Cell(row=kind, column=name, options={"model": name, "normalization": kind})


def of_optimizer(names: Sequence[str]) -> Iterator[Cell]:
    """Yield each optimizer at its own learning rate, for each network."""
    for name in names:
        for kind in optimizers.names():
            yield Cell(row=kind, column=name, options={"model": name, "optimizer": kind})


def of_augmentation(names: Sequence[str]) -> Iterator[Cell]:
    """Yield whole recipes, then each of the study's augmentations alone, and the study's recipe without it."""
    for name in names:
        for recipe in ("none", "study", "strong"):
            yield Cell(row=recipe, column=f"whole, {name}", options={"model": name, "augment": recipe})
        for transform in recipes.study_names():
            for part in ("only", "without"):
                options = {"model": name, "augment": f"{part}:{transform}"}
                yield Cell(row=transform, column=f"{part}, {name}", options=options)


COMPARISONS: dict[str, Callable[[Sequence[str]], Iterator[Cell]]] = {
    "models": of_models,
    "normalization": of_normalization,
    "optimizer": of_optimizer,
    "augmentation": of_augmentation,
}


def spec(name: str) -> models.Spec:
    """Return a network's entry in `models.REGISTRY`. Raises UserError for an unknown name."""
    try:
        return models.spec(name)
    except ValueError as error:
        raise UserError(str(error)) from None


def networks(names: str, compare: str) -> list[str]:
    """Parse a comma-separated list of networks; by default all to compare networks, else cnn2d."""
    names = names or ("all" if compare == "models" else "cnn2d")
    chosen = models.names() if names == "all" else names.split(",")
    for name in chosen:
        spec(name)
    return chosen


def parse_steps(steps: str) -> tuple[int | None, dict[str, int]]:
    """Parse ``"180,vgg19=360"`` into the steps of all networks, and those of networks with another number.

    Raises
    ------
    UserError
        If `steps` does not have this form.
    """
    default, own = None, {}
    for word in filter(None, steps.split(",")):
        name, given, number = word.rpartition("=")
        if not number.isdecimal() or int(number) < 1:
            raise UserError(
                f"--steps takes a number above 0, and other numbers by network, such as 180,vgg19=360; got {steps!r}"
            )
        if given:
            spec(name)
            own[name] = int(number)
        elif default is None:
            default = int(number)
        else:
            raise UserError(f"--steps takes one number without the name of a network, got {steps!r}")
    return default, own
