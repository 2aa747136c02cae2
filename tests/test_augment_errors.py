"""Invalid arguments raise an error when a transform is built; the message has the rule and the value."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from gtzan_stream.augment import (
    Compose,
    Draw,
    Gain,
    GaussianNoise,
    OneOf,
    PitchShift,
    SpeedPerturb,
    TimeShift,
    TimeStretch,
    Transform,
)
from tests.augment_cases import untyped

NAN = float("nan")
BAD: list[tuple[Callable[[], Transform], str]] = [
    (lambda: Gain(p=1.5), "Gain: expected 0 <= p <= 1, got p=1.5"),
    (lambda: Gain(p=NAN), "got p=nan"),
    (lambda: Gain(2.0, 1.0), "Gain: expected min_gain <= max_gain, both > 0, got min_gain=2.0, max_gain=1.0"),
    (lambda: Gain(0.0, 1.0), "both > 0"),
    (lambda: Gain.in_db(-300.0, 0.0), "within"),
    (lambda: Gain(1e-11, 1.0, logarithmic=True), "both within 1e-10 and 1e10"),
    (lambda: Gain(1.0, 1e11, logarithmic=True), "both within 1e-10 and 1e10"),
    (lambda: GaussianNoise(-0.1, 0.1), "GaussianNoise: expected min_std <= max_std, both >= 0"),
    (lambda: GaussianNoise(0.1, NAN), "max_std=nan"),
    (lambda: TimeStretch(0.0, 1.0), "TimeStretch: expected min_rate <= max_rate, both > 0"),
    (lambda: TimeStretch(1.0, float("inf")), "max_rate=inf"),
    (lambda: PitchShift(-60.0, 0.0), "within"),
    (lambda: PitchShift(0.0, 60.0), "within"),
    (lambda: SpeedPerturb(1.0, 0.5), "min_rate <= max_rate"),
    (lambda: TimeShift(5, 4), "min_shift <= max_shift"),
    (lambda: TimeShift(0, 2**31), "both whole numbers within +/-2147483647"),
    (lambda: TimeShift(-(10**30), 0), "both whole numbers within +/-2147483647"),
    (lambda: OneOf([]), "at least one transform"),
    (lambda: OneOf([Gain()], weights=[0.0]), "not all 0"),
    (lambda: OneOf([Gain()], weights=[1.0, 2.0]), "1 transforms and weights="),
    (lambda: OneOf([Gain(), Gain()], weights=[-1.0, 2.0]), "weight >= 0"),
    (lambda: OneOf([Gain(), Gain()], weights=[1e308, 1e308]), "weight >= 0"),
]
assert BAD


@pytest.mark.parametrize(("build", "message"), BAD)
def test_wrong_ranges_are_refused(build: Callable[[], Transform], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


def test_another_module_in_a_chain_is_refused() -> None:
    with untyped(), pytest.raises(TypeError, match="got Linear; wrap one of audiomentations"):
        Compose([torch.nn.Linear(1, 1)])  # type: ignore[list-item]


def test_waveforms_of_another_shape_or_dtype_are_refused() -> None:
    gain = Gain()
    draw = gain.draw(["a", "b"])
    with pytest.raises(ValueError, match="Gain: expected the 2 examples of the draw, got 3"):
        gain.apply(torch.zeros(3, 10), draw)
    for wave in (torch.zeros(10), torch.zeros(2, 1, 1, 10)):
        with (
            untyped(),
            pytest.raises(ValueError, match=r"expected a waveform \[batch, time\] or \[batch, channel, time\]"),
        ):
            gain.apply(wave, draw)
        with (
            untyped(),
            pytest.raises(ValueError, match=r"expected a waveform \[batch, time\] or \[batch, channel, time\]"),
        ):
            gain(wave)
    with pytest.raises(TypeError, match=r"expected float32 or float64.*float16"):
        gain.apply(torch.zeros(2, 10, dtype=torch.float16), draw)


def test_an_array_instead_of_a_tensor_is_refused() -> None:
    with untyped(), pytest.raises(TypeError, match="expected a torch tensor, got ndarray"):
        Gain()(np.zeros((2, 10), np.float32))  # type: ignore[arg-type]


class Broken(Transform):
    """A transform that returns the given object instead of a waveform."""

    def __init__(self, out: object) -> None:
        super().__init__()
        self.out = out

    def compute(self, waveform: torch.Tensor, draw: Draw, length: int | None) -> torch.Tensor:
        return self.out  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("out", "got"), [(None, "NoneType"), (torch.ones(1, 9), r"\[1, 9\]"), (np.zeros(10), "ndarray")]
)
def test_the_result_of_compute_is_checked(out: object, got: str) -> None:
    with untyped(), pytest.raises(TypeError, match=rf"Broken\.compute: expected a tensor \[1, 10\], got {got}"):
        Broken(out)(torch.zeros(1, 10))


def test_a_transform_without_compute_is_named() -> None:
    class Empty(Transform):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty has no compute\(waveform, draw, length\)"):
        Empty()(torch.zeros(1, 10))


def test_wrong_keys_and_crops_are_refused() -> None:
    with pytest.raises(ValueError, match="crops: expected one for each of 2 keys"):
        Gain().draw(["a", "b"], crops=np.arange(3))
    with pytest.raises(TypeError, match="got the one string 'blues_00000'"):
        Gain().draw("blues_00000")
