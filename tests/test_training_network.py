"""Between a batch and the loss: the trainable spectrogram, masks, mixup and label smoothing."""

import math
import sys

import pytest
import torch
from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.features import Frames, LogMel
from gtzan_stream.normalization import Normalization
from gtzan_stream.training.losses import loss_of
from gtzan_stream.training.mixup import mixup
from gtzan_stream.training.network import Classifier, SpecAugment, TrainableLogMel


def music(n: int, length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(length) / 22050
    tones = torch.sin(2 * math.pi * torch.tensor([[220.0], [3000.0]]).repeat(n, 1)[:n] * time)
    return 0.2 * tones + 0.05 * torch.randn(n, length, generator=generator)


# --- the trainable spectrogram ----------------------------------------------------------------------------------------


def test_an_untrained_spectrogram_is_the_log_mel_spectrogram():
    frames, plain = Frames(frames=6), LogMel(frames=6)
    waveform = music(2, plain.geometry.read_length)
    learnt = TrainableLogMel(LogMel(trainable=True))(frames(waveform))
    torch.testing.assert_close(learnt, plain(waveform), rtol=0, atol=2e-3)  # nnAudio adds 1e-8 to trained powers
    silent = TrainableLogMel(LogMel(trainable=True))(torch.zeros(1, 1024, 3))
    assert silent.abs().max() < 1e-3


def test_gradients_reach_the_kernels_even_of_silence():
    network = Classifier(
        nn.Sequential(nn.Flatten(), nn.Linear(128 * 4, 3)),
        Normalization("clip"),
        frontend=TrainableLogMel(LogMel(trainable=True)),
    )
    frames = Frames(frames=4)(music(3, Frames(frames=4).geometry.read_length)).clone()
    frames[0, :, 2:] = 0
    loss_of(network(frames), torch.arange(3), torch.ones(3)).backward()
    learnt = {name.rsplit(".")[-1]: parameter.grad for name, parameter in network.frontend.named_parameters()}
    assert set(learnt) == {"wsin", "wcos", "mel_basis"}
    for name, gradient in learnt.items():
        assert gradient.isfinite().all(), name
        assert gradient.abs().sum() > 0, name


def test_a_trainable_spectrogram_of_fixed_kernels_is_refused():
    with pytest.raises(ValueError, match="nothing to learn: make it with LogMel\\(trainable=True\\)"):
        TrainableLogMel(LogMel())


# --- masks ------------------------------------------------------------------------------------------------------------


def test_masks_hide_one_range_of_bands_and_one_of_frames_in_each_example():
    torch.manual_seed(0)
    hidden = SpecAugment(24)(torch.ones(200, 128, 100)) == 0
    bands, frames = hidden.all(dim=2), hidden.all(dim=1)  # [batch, mel], [batch, frame]
    assert torch.equal(hidden, bands[:, :, None] | frames[:, None])
    for mask in (bands, frames):
        widths = mask.sum(dim=1)
        edges = mask.int().diff(dim=1, prepend=torch.zeros(200, 1, dtype=torch.int)) == 1
        assert edges.sum(dim=1).max() == 1  # one range
        assert widths.max() <= 24
        assert 10 < widths.float().mean() < 14
        assert len(mask.unique(dim=0)) > 150


def test_masks_apply_in_training_only():
    features = torch.ones(4, 128, 128)
    network = Classifier(nn.Identity(), Normalization("none"), widest_mask=64)
    assert not torch.equal(network(features), features)
    assert torch.equal(network.eval()(features), features)
    shifted = Classifier(nn.Identity(), Normalization("global"), widest_mask=64)
    shifted.normalization.mean += 3
    assert set(shifted(features).unique().tolist()) == {-2.0, 0.0}  # masked with the mean
    assert not network.state_dict().keys() - Classifier(nn.Identity(), Normalization("none")).state_dict().keys()


# --- mixtures ---------------------------------------------------------------------------------------------------------


def test_the_labels_of_a_mixture_are_the_shares_of_its_parts():
    torch.manual_seed(0)
    n = 64
    features = torch.eye(n)[:, None].expand(n, 3, n)  # row i is the unit vector i, so a mixture shows its parts
    mixed, targets = mixup(features, torch.arange(n), torch.ones(n), n_classes=n, alpha=1.0)
    assert torch.equal(mixed[:, 1], targets)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(n))
    own = targets.diagonal()
    assert own.min() >= 0.5
    assert own.unique().numel() > n // 2
    assert 0.7 < own.mean() < 0.8  # of uniform shares, the mean of the greater is 3/4


def test_a_small_alpha_mixes_little():
    torch.manual_seed(0)
    labels = torch.arange(500)
    own_shares = [
        mixup(torch.eye(500), labels, torch.ones(500), n_classes=500, alpha=a)[1].diagonal().mean() for a in (0.05, 5)
    ]
    assert own_shares[0] > 0.95 > 0.7 > own_shares[1]


def test_rows_of_weight_zero_are_not_mixed_into_others():
    torch.manual_seed(0)
    weights = torch.ones(40)
    weights[::2] = 0
    mixed, targets = mixup(torch.eye(40), torch.arange(40), weights, n_classes=40, alpha=1.0)
    others = targets - torch.diag(targets.diagonal())
    assert others[:, ::2].sum() == 0
    assert others[:, 1::2].sum() > 0
    assert torch.equal(mixed, targets)


def test_the_error_of_a_missing_torchaudio_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio.transforms", None)
    with pytest.raises(UserError, match=r"SpecAugment needs torchaudio, .*or train without --spec-augment"):
        SpecAugment(8)


def test_mixtures_are_repeatable_from_the_random_state_of_torch():
    def draw() -> torch.Tensor:
        return mixup(torch.eye(8), torch.arange(8), torch.ones(8), n_classes=8, alpha=0.4)[0]

    torch.manual_seed(3)
    state, first, second = torch.get_rng_state(), draw(), draw()
    torch.set_rng_state(state)
    assert torch.equal(draw(), first)
    assert torch.equal(draw(), second)
    assert not torch.equal(first, second)


# --- losses -----------------------------------------------------------------------------------------------------------


def test_label_smoothing_gives_every_class_a_share():
    logits, labels, weights = torch.tensor([[4.0, 0.0, 0.0, 0.0]]), torch.tensor([0]), torch.ones(1)
    log = logits.log_softmax(dim=1)[0]
    expected = -(0.9 * log[0] + 0.1 * log.mean())
    assert loss_of(logits, labels, weights, label_smoothing=0.1).item() == pytest.approx(expected.item(), rel=1e-6)
    heads = (logits, logits)
    assert loss_of(heads, labels, weights, label_smoothing=0.1).item() == pytest.approx(1.3 * expected.item(), rel=1e-6)


def test_labels_may_be_probabilities():
    logits, weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0, 1.0, 0.0])
    one_hot = torch.eye(4)[:3]
    assert loss_of(logits, one_hot, weights).item() == pytest.approx(loss_of(logits, torch.arange(3), weights).item())
