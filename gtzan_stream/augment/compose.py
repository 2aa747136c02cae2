"""Compose and OneOf: apply several transforms in turn, or one of several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Examples, Source
from gtzan_stream.augment.waveforms import fit
from gtzan_stream.dsp.parameters import to_device
from gtzan_stream.words import short_repr


class Identity(Transform):
    """Leave every example unchanged."""

    def __init__(self) -> None:
        super().__init__(p=0.0)


class Compose(Transform):
    """Apply `transforms` in turn, each with its own probability and parameters.

    `source` chains them from last to first: the input that transform i needs is the output that transform i - 1 must
    compute. A chain that is applied to segments of a clip therefore never needs zero-padding. Chains can be nested.

    Parameters
    ----------
    transforms : iterable of Transform
        In the order to apply them.
    p : float in 0..1
        The probability that the chain is applied to an example.
    """

    def __init__(self, transforms: Iterable[Transform], *, p: float = 1.0) -> None:
        super().__init__(p=p)
        members = list(transforms)
        for transform in members:
            if not isinstance(transform, Transform):
                raise TypeError(
                    f"{type(self).__name__}: expected transforms of gtzan_stream.augment, "
                    f"got {type(transform).__name__}; wrap one of audiomentations in Audiomentations(...)"
                )
        self.transforms = nn.ModuleList(members)

    def draw_for(self, examples: Examples, path: str) -> Draw:
        draw = super().draw_for(examples, path)
        drawn = (
            transform.draw_for(examples, f"{path}.{i}/{type(transform).__name__}")
            for i, transform in enumerate(self.members)
        )
        chosen = (child.only(self.members_mask(draw, i)) for i, child in enumerate(drawn))
        return replace(draw, children=tuple(chosen))

    def members_mask(self, draw: Draw, i: int) -> np.ndarray:
        """Return which examples transform `i` is applied to: bool [batch]."""
        return draw.chosen

    def source(self, length: int | np.ndarray, draw: Draw) -> Source:
        needed = np.broadcast_to(np.asarray(length, dtype=np.int64), len(draw))
        before = np.zeros(len(draw))
        for transform, drawn in reversed(self._drawn(draw)):
            source = transform.source(needed, drawn)
            before, needed = source.before + before * transform.rate(drawn), source.length
        return Source(np.rint(before).astype(np.int64), needed)

    def rate(self, draw: Draw) -> np.ndarray:
        rates = [transform.rate(drawn) for transform, drawn in self._drawn(draw)]
        return np.prod([np.ones(len(draw)), *rates], axis=0)

    def run(self, waveform: Tensor, draw: Draw, wanted: np.ndarray | None) -> Tensor:
        if wanted is None:
            for transform, drawn in self._drawn(draw):
                waveform = transform.run(waveform, drawn, None)
            return waveform
        # The input length of the chain, then the output length of each transform. The last is known, and each length
        # gives the one before it, so the list grows at its front.
        lengths = [wanted]
        for transform, drawn in reversed(self._drawn(draw)):
            lengths.insert(0, transform.source(lengths[0], drawn).length)
        for (transform, drawn), length in zip(self._drawn(draw), lengths[1:], strict=True):
            waveform = transform.run(waveform, drawn, length)
        return fit(waveform, int(wanted.max()))

    def leaves(self, draw: Draw) -> list[tuple[Transform, Draw]]:
        return [leaf for transform, drawn in self._drawn(draw) for leaf in transform.leaves(drawn)]

    @property
    def members(self) -> list[Transform]:
        """The transforms in order."""
        return [transform for transform in self.transforms if isinstance(transform, Transform)]

    def _drawn(self, draw: Draw) -> list[tuple[Transform, Draw]]:
        return list(zip(self.members, draw.children, strict=True))


class OneOf(Compose):
    """Apply one of `transforms`, picked at random, to each example.

    Parameters
    ----------
    transforms : iterable of Transform
        At least one. If the picked one has a `p` below 1, it may still leave the example unchanged.
    weights : sequence of float, optional
        Relative probability of each; equal by default.
    p : float in 0..1
        The probability that any is applied.
    """

    def __init__(
        self, transforms: Iterable[Transform], *, weights: Sequence[float] | None = None, p: float = 1.0
    ) -> None:
        super().__init__(transforms, p=p)
        share = np.ones(len(self.transforms)) if weights is None else np.asarray(weights, dtype=float)
        with np.errstate(over="ignore"):
            total = share.sum()
        if (
            not len(self.transforms)
            or share.shape != (len(self.transforms),)
            or not (share >= 0).all()
            or not 0 < total < np.inf
        ):
            raise ValueError(
                f"OneOf: expected at least one transform and a weight >= 0 for each, not all 0, "
                f"got {len(self.transforms)} transforms and weights={short_repr(weights)}"
            )
        self.weights = None if weights is None else share.tolist()
        self.bounds = np.cumsum(share) / total  # a uniform number u picks the first i with u < bounds[i]
        self.bounds[np.flatnonzero(share)[-1] :] = 1.0

    def parameters_of(self, examples: Examples, path: str) -> dict[str, np.ndarray]:
        picked = np.searchsorted(self.bounds, examples.uniform(f"{path}.pick"), side="right")
        return {"pick": picked.astype(float)}

    def members_mask(self, draw: Draw, i: int) -> np.ndarray:
        return draw.chosen & (draw.values["pick"] == i)

    def run(self, waveform: Tensor, draw: Draw, wanted: np.ndarray | None) -> Tensor:
        """Write the results of all members to one copy of the batch, as each row belongs to at most one of them."""
        parts = [(transform, drawn, np.flatnonzero(drawn.chosen)) for transform, drawn in self._drawn(draw)]
        parts = [part for part in parts if part[2].size]
        if not parts or parts[0][2].size == len(draw):
            return super().run(waveform, draw, wanted)
        index = to_device(np.concatenate([rows for *_, rows in parts]), waveform.device)
        width = waveform.shape[1] if wanted is None else int(wanted.max())
        out = fit(waveform, width).clone()
        for (transform, drawn, rows), own in zip(parts, index.split([part[2].size for part in parts]), strict=True):
            changed = transform.run(
                waveform.index_select(0, own), drawn[rows], None if wanted is None else wanted[rows]
            )
            out.index_copy_(0, own, fit(changed, width))
        return out
