"""Transforms under autocast, and on rows that hold samples which are not finite."""

import numpy as np
import pytest
import torch

from gtzan_stream.dsp.backend import force
from tests.augment_cases import REGISTRY, keys, music
from tests.feature_cases import FEATURES

BACKENDS = ["numba", "torch"]
OTHERS = [0, 2, 3]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", REGISTRY)
def test_autocast_changes_no_transform(name: str, backend: str):
    transform, waveform = REGISTRY[name](1.0), music(3, 6000)
    leaf = waveform.clone().requires_grad_()
    with force(backend):  # type: ignore[arg-type]
        expected = transform(waveform, keys(3))
    together = transform(leaf, keys(3))
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            with force(backend):  # type: ignore[arg-type]
                out = transform(waveform, keys(3))
            beside = transform(leaf, keys(3))
        assert out.dtype == beside.dtype == torch.float32
        assert torch.equal(out, expected)
        assert torch.equal(beside, together)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", REGISTRY)
def test_a_sample_that_is_not_finite_touches_no_other_row(name: str, backend: str, bad: float):
    transform, clean = REGISTRY[name](1.0), music(4, 6000)
    draw, wanted = transform.draw(keys(4), seed=1), np.array([4000, 3000, 4000, 3500])
    segments = music(4, int(transform.source(wanted, draw).length.max()))
    for waveform, lengths in ((clean, None), (segments, wanted), (clean.view(2, 2, 6000), None)):
        spoilt, drawn = waveform.clone(), draw[: len(waveform)]
        spoilt.view(4, -1)[1, 2000] = bad
        with force(backend):  # type: ignore[arg-type]
            expected, out = (transform.apply(rows, drawn, lengths) for rows in (waveform, spoilt))
            needed = None if lengths is None else transform.source(lengths, drawn).length
            if waveform.ndim == 2:  # the way that is taken on CUDA
                beside = [transform._apply_batch(rows, drawn, lengths, needed)[OTHERS] for rows in (waveform, spoilt)]
                assert torch.equal(*beside)
        assert torch.equal(out.flatten(0, -2)[OTHERS], expected.flatten(0, -2)[OTHERS])
        assert not torch.equal(out.flatten(0, -2)[1], expected.flatten(0, -2)[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", FEATURES)
def test_a_sample_that_is_not_finite_touches_no_other_rows_features(name: str, bad: float):
    features, clean = FEATURES[name], music(4, 70_000)
    spoilt = clean.clone()
    spoilt[1, 35_000] = bad
    out, expected = features(spoilt), features(clean)
    assert torch.equal(out[OTHERS], expected[OTHERS])
    assert not out[1].isfinite().all()
