"""Transforms and features under autocast, and on batches with samples that are not finite."""

import numpy as np
import pytest
import torch

from gtzan_stream.augment.rows import apply_batch
from gtzan_stream.dsp.backend import force
from tests.augment_cases import REGISTRY, keys, music
from tests.feature_cases import FEATURES

BACKENDS = ["numba", "torch"]
OTHER_ROWS = [0, 2, 3]
CHAINS = ["compose", "study", "strong"]
"""Transforms that call others, which are tested with both backends, as `nested` calls `study`."""
CASES = [
    pytest.param(name, backend, marks=[pytest.mark.slow] * (name in CHAINS and backend == "torch"))
    for name in REGISTRY
    for backend in BACKENDS
]
NOT_FINITE = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize(("name", "backend"), CASES)
def test_autocast_changes_no_transform(name: str, backend: str):
    transform, waveform = REGISTRY[name](1.0), music(3, 6000)
    leaf = waveform.clone().requires_grad_()
    with force(backend):  # type: ignore[arg-type]
        expected = transform(waveform, keys(3))
    expected_with_gradients = transform(leaf, keys(3))
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            with force(backend):  # type: ignore[arg-type]
                out = transform(waveform, keys(3))
            with_gradients = transform(leaf, keys(3))
        assert out.dtype == with_gradients.dtype == torch.float32
        assert torch.equal(out, expected)
        assert torch.equal(with_gradients, expected_with_gradients)


@pytest.mark.parametrize("shift", [0, *(pytest.param(shift, marks=pytest.mark.slow) for shift in (1, 2))])
@pytest.mark.parametrize(("name", "backend"), CASES)
def test_a_sample_that_is_not_finite_changes_no_other_row(name: str, backend: str, shift: int):
    """NaN in clips, infinity in segments, and minus infinity in clips of two channels; `shift` exchanges them."""
    transform, clean = REGISTRY[name](1.0), music(4, 6000)
    draw, segment_lengths = transform.draw(keys(4), seed=1), np.array([4000, 3000, 4000, 3500])
    segments = music(4, int(transform.source(segment_lengths, draw).length.max()))
    cases = ((clean, None), (segments, segment_lengths), (clean.view(2, 2, 6000), None))
    for bad, (waveform, lengths) in zip(np.roll(NOT_FINITE, shift), cases, strict=True):
        damaged, drawn = waveform.clone(), draw[: len(waveform)]
        damaged.view(4, -1)[1, 2000] = bad
        with force(backend):  # type: ignore[arg-type]
            expected, out = (transform.apply(rows, drawn, lengths) for rows in (waveform, damaged))
            needed = None if lengths is None else transform.source(lengths, drawn).length
            if waveform.ndim == 2:  # the code path of CUDA
                inputs = (waveform, damaged)
                batched = [apply_batch(transform, rows, drawn, lengths, needed)[OTHER_ROWS] for rows in inputs]
                assert torch.equal(*batched)
        assert torch.equal(out.flatten(0, -2)[OTHER_ROWS], expected.flatten(0, -2)[OTHER_ROWS])
        assert not torch.equal(out.flatten(0, -2)[1], expected.flatten(0, -2)[1])


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize("name", FEATURES)
def test_a_sample_that_is_not_finite_changes_the_features_of_no_other_row(name: str, bad: float):
    features, clean = FEATURES[name], music(4, 70_000)
    damaged = clean.clone()
    damaged[1, 35_000] = bad
    out, expected = features(damaged), features(clean)
    assert torch.equal(out[OTHER_ROWS], expected[OTHER_ROWS])
    assert not out[1].isfinite().all()
