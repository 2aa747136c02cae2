"""The method of a time stretch or pitch shift, from transforms and recipes down to the functions of dsp."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gtzan_stream.augment import PitchShift, TimeStretch, Transform, recipe
from gtzan_stream.dsp import pitch, stretch
from gtzan_stream.dsp.backend import force
from tests.augment_cases import keys, music

BOTH = [(TimeStretch, stretch.time_stretch, stretch.source), (PitchShift, pitch.pitch_shift, pitch.source)]


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("method", stretch.METHODS)
@pytest.mark.parametrize(("make", "function", "source"), BOTH)
def test_a_transform_computes_by_its_method(
    make: type[Transform], function: Callable, source: Callable, method: str, backend: str
) -> None:
    x, value = music(2, 30_000), 1.3
    transform = make(value, value, method=method)
    draw = transform.draw(keys(2))
    before, total = source(9000, np.full(2, value), method=method)
    asked = transform.source(9000, draw)
    assert np.array_equal(asked.before, before)
    assert np.array_equal(asked.length, total)
    segment = x[:, : total[0]]
    with force(backend):
        whole, part = transform.apply(x, draw), transform.apply(segment, draw, 9000)
        expected = function(segment, value, 9000, offset=before, method=method)
        torch.testing.assert_close(whole, function(x, value, 30_000, method=method), atol=1e-5, rtol=0)
        torch.testing.assert_close(part, expected, atol=1e-5, rtol=0)


def test_the_study_keeps_librosas_vocoder_and_everything_else_is_locked() -> None:
    def methods(transform: Transform) -> dict[str, str]:
        both = [part for part in transform.modules() if isinstance(part, TimeStretch | PitchShift)]
        return {type(part).__name__: part.options["method"] for part in both}

    for name in ("study", "without:Gain"):
        assert methods(recipe(name)) == {"TimeStretch": "vocoder", "PitchShift": "vocoder"}
    for make in (TimeStretch, PitchShift):
        assert methods(recipe(f"only:{make.__name__}")) == {make.__name__: "vocoder"}
        assert methods(make()) == {make.__name__: "locked"}
    assert methods(recipe("strong")) == {"TimeStretch": "locked", "PitchShift": "locked"}


@pytest.mark.parametrize("make", [TimeStretch, PitchShift])
def test_a_transform_refuses_a_method_that_does_not_exist(make: type[Transform]) -> None:
    with pytest.raises(ValueError, match="method: expected locked or vocoder, got 'rubber'"):
        make(method="rubber")
