"""Transforms of users on the CPU: whatever they override is called, and gradients and invalid values are not lost."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gtzan_stream.augment import Compose, Gain, GaussianNoise, Identity, TimeStretch, Transform
from gtzan_stream.augment.draw import Draw
from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from tests.augment_cases import keys

LOUD = torch.full((3, 50), 0.9)


class Clipped(Gain):
    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        return super().compute(waveform, draw, length).clamp(-1, 1)


class Clip:
    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        return super().compute(waveform, draw, length).clamp(-1, 1)


class ClippedGain(Clip, Gain):
    pass


class ClippedTwice(Clipped):
    pass


class Silent(TimeStretch):
    dsp_warp = staticmethod(lambda waveform, rate, length, **_: waveform.new_zeros(len(waveform), length))


class Dry(Compose):
    def run(self, waveform: Tensor, draw: Draw, wanted: np.ndarray | None) -> Tensor:
        return 0.5 * super().run(waveform, draw, wanted)


class Muted(Compose):
    def apply(self, waveform, draw, length=None, **options):
        return 0 * super().apply(waveform, draw, length, **options)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (Gain(2, 2), 1.8),
        (Clipped(2, 2), 1.0),
        (ClippedGain(2, 2), 1.0),
        (ClippedTwice(2, 2), 1.0),
        (Silent(), 0.0),
        (Dry([Gain(2, 2)]), 0.9),
        (Compose([Dry([Gain(2, 2)]), Identity()]), 0.9),
        (Muted([Gain(2, 2)]), 0.0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_a_subclass_overrides_is_called(transform: Transform, expected: float, dtype: torch.dtype):
    out = transform.apply(LOUD.to(dtype), transform.draw(keys(3)))
    torch.testing.assert_close(out, torch.full_like(out, expected))


def test_a_function_set_on_an_instance_is_called():
    transform = Gain(2, 2)
    transform.compute = lambda waveform, draw, length: waveform[:, :length] * 0
    assert not transform.apply(LOUD, transform.draw(keys(3))).any()


def test_a_loader_calls_what_a_subclass_overrides(shards: Path):
    with Loader(shards, augment=Muted([Gain(2, 2)]), num_workers=0) as loader:
        assert not next(iter(loader)).features.any()


class Echo(Transform):
    """Keep what `compute` got."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = []

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        self.kept.append(waveform)
        return waveform[:, :length].to(torch.bfloat16)


def test_a_transform_may_keep_its_input_and_return_another_dtype():
    echo, waveform = Echo(), torch.rand(6, 500)
    chain = Compose([Gain(1, 1), echo])
    out = chain.apply(waveform, chain.draw(keys(6)))
    assert out.dtype == torch.float32
    assert torch.equal(out, waveform.to(torch.bfloat16).float())
    kept = {float(row[0, 0]): row[0] for row in echo.kept}
    assert all(torch.equal(kept[float(row[0])], row) for row in waveform)


class Learned(Transform):
    """Multiply by a number, and note the threads."""

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.factor, self.threads = factor, set()

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        self.threads.add(threading.current_thread())
        return waveform[:, :length] * self.factor


def test_gradients_of_parameters_are_recorded_in_one_thread():
    """Autograd would lose rows that several threads write into one tensor."""
    learned = Learned(nn.Parameter(torch.tensor(2.0)))
    chain, waveform = Compose([Gain(1, 1), learned]), torch.rand(16, 500)
    chain.apply(waveform, chain.draw(keys(16))).sum().backward()
    torch.testing.assert_close(learned.factor.grad, waveform.sum())
    assert learned.threads == {threading.current_thread()}


def test_gradients_that_would_be_lost_are_an_error():
    learned = Learned(torch.tensor(2.0, requires_grad=True))
    with pytest.raises(UserError, match="a tensor with gradients is not a parameter of the module"):
        learned.apply(LOUD, learned.draw(keys(3)))


class BadNoise(GaussianNoise):
    def parameters_of(self, examples, path):
        return {"std": np.where(examples.crops == 1, np.nan, 0.1)}


class BadRate(TimeStretch):
    def draw_value(self, uniform: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(uniform)) == 1, 0.0, 1.0)


@pytest.mark.parametrize("transform", [BadNoise(), BadRate()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_invalid_parameter_is_an_error_of_its_row(transform: Transform, dtype: torch.dtype):
    failed = []
    draw = transform.draw(keys(3), crops=[0, 1, 2])
    out = transform.apply(LOUD.to(dtype), draw, failed=lambda row, error: failed.append((row, str(error))))
    assert [row for row, _ in failed] == [1]
    assert "every value must be finite" in failed[0][1]
    assert not out[1].any()
    assert torch.isfinite(out).all()
