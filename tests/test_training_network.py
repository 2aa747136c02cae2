"""Between a batch and the loss: the trainable spectrogram, masks, mixup and label smoothing."""

import math

import pytest
import torch
from torch import nn

from gtzan_stream.features import Frames, LogMel
from gtzan_stream.normalization import Normalization
from gtzan_stream.training.losses import loss_of
from gtzan_stream.training.network import Classifier, TrainableLogMel


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
    with pytest.raises(ValueError, match="nothing to train: build it with LogMel\\(trainable=True\\)"):
        TrainableLogMel(LogMel())


# --- masks ------------------------------------------------------------------------------------------------------------


def test_hidden_values_become_the_mean_of_normalised_features():
    features, hidden = torch.ones(2, 4, 3), torch.zeros(2, 4, 3, dtype=torch.bool)
    hidden[0, 1] = hidden[1, :, 2] = True
    network = Classifier(nn.Identity(), Normalization("global"))
    network.normalization.mean += 3
    assert torch.equal(network(features, hidden), torch.where(hidden, 0.0, -2.0))
    assert torch.equal(network(features), torch.full((2, 4, 3), -2.0))


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
