"""A chain is listed as the steps of each row, and a row runs its own steps only."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gtzan_stream.augment import Compose, Gain, Identity, OneOf, Percussive, TimeShift, TimeStretch, Transform, recipe
from gtzan_stream.augment.draw import Draw
from gtzan_stream.augment.steps import steps_by_row
from gtzan_stream.dsp import backend
from gtzan_stream.dsp.backend import RowThreads
from gtzan_stream.loader import Loader
from tests.augment_cases import keys, music

CHAIN = Compose([OneOf([TimeStretch(0.8, 1.2), Identity(), Percussive()]), Compose([TimeShift(5, 500, p=0.5)]), Gain()])


@pytest.mark.parametrize("is_whole", [False, True])
def test_the_steps_of_a_row_are_the_transforms_that_change_it_in_order(is_whole: bool):
    draw, length = CHAIN.draw(keys(30)), np.full(30, 4096)
    steps, seen = steps_by_row(CHAIN.leaves(draw), length, is_whole=is_whole), Counter()
    for row, own in enumerate(steps):
        names = [type(step.transform).__name__ for step in own]
        described = [] if draw.describe(row) == "unchanged" else draw.describe(row).split(" > ")
        assert names == [text.partition("(")[0] for text in described]
        seen.update(names)
        needed = 4096
        for step in reversed(own):
            alone = step.draw[row : row + 1]
            assert step.length == needed
            if is_whole:
                assert step.before is None
                continue
            source = step.transform.source(needed, alone)
            assert step.before == source.before.item()
            needed = source.length.item()
        assert needed == (4096 if is_whole else CHAIN.source(4096, draw).length[row])
    assert set(seen) == {"TimeStretch", "Percussive", "TimeShift", "Gain"}
    assert seen["Gain"] == 30 > max(seen["TimeShift"], seen["TimeStretch"])


class Aten(TorchDispatchMode):
    """Counts the calls of torch in this thread."""

    n = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.n += 1
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("name", ["none", "study", "strong"])
def test_a_row_calls_no_function_of_torch(name: str, shards: Path, monkeypatch: pytest.MonkeyPatch):
    """A batch of 100 more rows makes a few more calls at most, if some of its rows are padded."""
    monkeypatch.setattr(backend, "_shared", RowThreads(1))  # rows in this thread, where calls are counted
    calls = {}
    for n_rows in (4, 104):
        with Loader(shards, augment=name, batch_size=n_rows, crops_per_clip=24, num_workers=0) as loader:
            next(iter(loader))  # makes windows, which are kept
            with Aten() as counter:
                next(iter(loader))
        calls[n_rows] = counter.n
    assert calls[104] < calls[4] + 20


class Nested(Transform):
    """Apply another transform."""

    def __init__(self, inner: Transform) -> None:
        super().__init__()
        self.inner = inner

    def source_of(self, length, draw):
        return self.inner.source(length, self._drawn(draw))

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        return self.inner.apply(waveform, self._drawn(draw), length)

    def _drawn(self, draw: Draw) -> Draw:
        return self.inner.draw(draw.key_hash, crops=draw.crops)


def test_a_transform_may_apply_another_one_inside_a_row():
    """It then gets scratch arrays of its own."""
    inner, waveform, length = recipe("strong"), music(6, 30_000), np.full(6, 5000)
    nested, plain = (Compose([Gain(0.5, 2.0), member, Gain(0.5, 2.0)]) for member in (Nested(inner), inner))
    draw = nested.draw(keys(6))
    first, _, last = draw.children
    same = replace(draw, children=(first, inner.draw(keys(6)), last))
    assert plain.source(length, same).length.max() <= waveform.shape[1]
    assert torch.equal(nested.apply(waveform, draw, length), plain.apply(waveform, same, length))


class Learned(Transform):
    """Multiply by a number that can be learned."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        return waveform[:, :length] * self.factor


def test_a_transform_with_parameters_can_be_trained_on_the_cpu():
    chain, waveform = Compose([Gain(0.5, 2.0), Learned()]), music(3, 500)
    out = chain(waveform, keys(3))
    out.sum().backward()
    (learned,) = (module for module in chain.modules() if isinstance(module, Learned))
    with torch.no_grad():
        assert torch.equal(chain(waveform, keys(3)), out)
    torch.testing.assert_close(learned.factor.grad, out.sum().detach() / 2)
