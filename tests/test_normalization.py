"""Each normalisation gives mean 0 and variance 1 over its axes, estimated from a stream of batches."""

import pytest
import torch

from gtzan_stream.normalization import NORMALIZATIONS, Normalization


def batches() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    scale, shift = torch.linspace(0.5, 2, 8)[:, None], torch.linspace(-30, 90, 8)[:, None]
    return [torch.randn(n, 8, 20, generator=generator) * scale + shift for n in (5, 1, 9)]


@pytest.mark.parametrize("kind", ["global", "mel", "clip", "batch"])
def test_normalized_features_have_mean_0_and_variance_1(kind):
    dims = {"global": (0, 1, 2), "mel": (0, 2), "clip": (1, 2), "batch": (0, 2)}[kind]
    normalize = Normalization(kind, 8)
    normalize.estimate(iter(batches()))
    got = normalize(torch.cat(batches()))
    std, mean = torch.std_mean(got, dim=dims, correction=0)
    assert mean.abs().max() < 1e-3
    assert (std - 1).abs().max() < 1e-3
    assert not list(normalize.parameters())  # nothing to learn


def test_none_changes_nothing():
    normalize = Normalization()
    normalize.estimate(batches())
    assert torch.equal(normalize(batches()[0]), batches()[0])


@pytest.mark.parametrize("kind", ["global", "mel"])
def test_rows_of_weight_0_do_not_count(kind):
    weighted, plain = Normalization(kind, 8), Normalization(kind, 8)
    plain.estimate(batches())
    filler = torch.full((2, 8, 20), 1e6)
    pairs = [(torch.cat([filler, b]), torch.cat([torch.zeros(2), torch.ones(len(b))])) for b in batches()]
    weighted.estimate([(filler, torch.zeros(2)), *pairs])
    assert torch.allclose(weighted.mean, plain.mean, rtol=1e-6)
    assert torch.allclose(weighted.std, plain.std, rtol=1e-6)


def test_estimates_are_exact_despite_a_large_offset():
    generator = torch.Generator().manual_seed(0)
    many = [torch.randn(4, 1, 500, generator=generator) + 1000 for _ in range(50)]
    normalize = Normalization("global", 1)
    normalize.estimate(many)
    exact = torch.cat(many).double()
    assert normalize.mean.item() == pytest.approx(exact.mean().item(), rel=1e-7)
    assert normalize.std.item() == pytest.approx(exact.std(correction=0).item(), rel=1e-5)


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_constant_features_stay_finite(kind):
    constant = torch.full((3, 8, 20), 0.7)
    normalize = Normalization(kind, 8)
    normalize.estimate([constant])
    got = normalize(constant)
    assert torch.isfinite(got).all()
    assert kind == "none" or got.abs().max() < 0.05


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_statistics_are_in_the_state_dict(kind):
    normalize, again = Normalization(kind, 8), Normalization(kind, 8)
    normalize.estimate(batches())
    normalize(batches()[0])
    again.load_state_dict(normalize.state_dict())
    assert torch.equal(again.eval()(batches()[1]), normalize.eval()(batches()[1]))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="must be one of none, global, mel, clip, batch, got 'layer'"):
        Normalization("layer")
    with pytest.raises(ValueError, match="n_mels must be"):
        Normalization("mel", 0)
    with pytest.raises(ValueError, match="no data to estimate from"):
        Normalization("mel", 8).estimate([])
