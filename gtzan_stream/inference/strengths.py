"""Transforms at a fixed strength: every parameter at the low end, in the middle or at the high end of its range."""

from dataclasses import dataclass, fields, replace

import numpy as np

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.compose import Compose, Identity
from gtzan_stream.augment.draw import Draw, Examples

STRENGTHS = {"low": 0.0, "middle": 0.5, "high": 1 - 2**-53}
"""The number in [0, 1) that takes the place of every random number."""


class AtStrength(Compose):
    """Apply a transform to every example, with all its parameters at the same place of their ranges.

    What a transform draws in other ways, such as the samples of noise, stays random.

    Parameters
    ----------
    transform : Transform
    strength : str
        One of `STRENGTHS`.
    """

    def __init__(self, transform: Transform, strength: str) -> None:
        super().__init__([transform])
        self.uniform = STRENGTHS[strength]

    def draw_for(self, examples: Examples, path: str) -> Draw:
        known = {entry.name: getattr(examples, entry.name) for entry in fields(Examples)}
        draw = super().draw_for(_Constant(**known, constant=self.uniform), path)
        every = np.ones_like(draw.chosen)
        return replace(draw, children=tuple(replace(child, chosen=every) for child in draw.children))


@dataclass(frozen=True, kw_only=True)
class _Constant(Examples):
    """Examples for which each random number is the same."""

    constant: float

    def uniform(self, name: str) -> np.ndarray:
        return np.full(len(self.key_hash), self.constant)


def leaves(transform: Transform) -> list[Transform]:
    """List the transforms that a recipe is made of, without those that do nothing."""
    if isinstance(transform, Compose):
        return [leaf for member in transform.members for leaf in leaves(member)]
    return [] if isinstance(transform, Identity) else [transform]


def strengths_of(transform: Transform) -> dict[str, AtStrength]:
    """Return a transform at its different strengths: only "middle" if it has no range."""
    key = ["any"]
    of_all = {name: AtStrength(transform, name) for name in STRENGTHS}
    low, high = (of_all[name].draw(key).describe(0) for name in ("low", "high"))
    return {"middle": of_all["middle"]} if low == high else of_all
