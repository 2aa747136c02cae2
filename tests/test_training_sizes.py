"""The sizes of features that networks accept, and the errors for other sizes."""

import numpy as np
import pytest
import torch
from torch import nn

import models
from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from gtzan_stream.inference import export
from gtzan_stream.normalization import Normalization
from gtzan_stream.training.network import Classifier
from gtzan_stream.training.sizes import check_input, fewest_frames
from tests.train_cases import shapes_of, slow_if

NAMES = models.names()
SPECTROGRAMS = [name for name in NAMES if models.spec(name).features == "logmel"]
SIZES = [(128, 64), (128, 200), (64, 128)]
assert SPECTROGRAMS


def build(name: str) -> nn.Module:
    """Build a network on the CPU with any weights, as only its shapes matter."""
    return shapes_of(name, 3).to_empty(device="cpu")


def accepts(network: nn.Module, name: str, size: tuple[int, int]) -> bool:
    try:
        check_input(network, name, *size)
    except UserError:
        return False
    return True


@pytest.mark.parametrize("name", slow_if("crnn_time", SPECTROGRAMS))  # the next test has its sizes
def test_networks_accept_other_sizes_or_say_which_they_need(name):
    """Accepted sizes work in training and in evaluation; the error for any other size suggests one that works."""
    network, shapes = build(name), shapes_of(name, 3)
    for size in SIZES:
        if accepts(network, name, size):
            for training in (False, True):
                output = shapes.train(training)(torch.empty(2, *size, device="meta"))
                assert all(head.shape == (2, 3) for head in (output if isinstance(output, tuple) else (output,)))
        else:
            with pytest.raises(UserError, match=rf"the network {name} needs .* rows? and .* frames?") as caught:
                check_input(network, name, *size)
            tokens = str(caught.value).split("choose ")[1].replace(" or more", "").replace(" and", "").split()
            suggested = dict(zip(tokens[::2], map(int, tokens[1::2]), strict=True))
            assert accepts(network, name, (suggested.get("--n-mels", size[0]), suggested.get("--frames", size[1])))


def test_most_networks_accept_every_size():
    """The networks are listed by name, so that one that accepts fewer sizes than before is noticed."""
    least_rows = {"cnn1d": 128, "crnn": 128, "crnn_time": 128}
    for name in set(least_rows) | {"cnn2d", "resnet34", "googlenet"}:
        network = build(name)
        sizes = [size for size in [(128, 128), (128, 200), (64, 128)] if size[0] >= least_rows.get(name, 1)]
        assert all(accepts(network, name, size) for size in sizes), name
    assert not any(accepts(build(name), name, (64, 128)) for name in least_rows)


@pytest.mark.parametrize("name", NAMES)
def test_the_fewest_frames_are_enough_and_one_less_is_not(name):
    network, rows = build(name).eval(), models.spec(name).rows
    least = fewest_frames(network, rows)
    assert least is not None
    with torch.no_grad():
        assert network(torch.zeros(1, rows, least)).shape == (1, 3)
        if least > 1:
            with pytest.raises((RuntimeError, ValueError)):
                network(torch.zeros(1, rows, least - 1))


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        (
            "cnn2d",
            (128, 18),
            "needs at least 64 rows and at least 64 frames, but the features have 128 rows x 18 frames: "
            "choose --frames 64 or more",
        ),
        ("cnn2d", (40, 128), "have 40 rows x 128 frames: choose --n-mels 64 or more"),
        ("cnn2d", (40, 18), "have 40 rows x 18 frames: choose --n-mels 64 or more and --frames 64 or more"),
        ("cnn1d", (64, 1024), "needs exactly 128 rows and at least 105 frames, .*: choose --n-mels 128"),
        ("cnn1d", (200, 50), "choose --n-mels 128 and --frames 105 or more"),
        ("samplecnn", (1, 16_000), "needs exactly 1 row and at least 59049 frames, .*: choose --frames 59049 or more"),
        ("samplecnn", (128, 66_150), "choose --n-mels 1"),
    ],
)
def test_the_error_of_a_wrong_size_suggests_one_that_works(name, size, message):
    with pytest.raises(UserError, match=message + "$"):
        check_input(build(name), name, *size)


def test_a_number_of_rows_that_no_option_sets_is_suggested_without_one():
    with pytest.raises(UserError, match=r"choose features of 64 rows or more and --frames 64 or more$"):
        check_input(models.build("cnn2d", 3), "cnn2d", 20, 20, takes_n_mels=False)


class Picky(nn.Module):
    """A network that accepts no input."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("never\nmind")


def test_the_error_of_a_network_that_accepts_no_size_says_why():
    message = r"does not take features of 20 rows x 10 frames \(never\): choose another --model, --features or --fr"
    with pytest.raises(UserError, match=message):
        check_input(Picky(), "picky", 20, 10)
    assert fewest_frames(Picky(), 20) is None


def test_a_check_leaves_weights_and_mode_alone():
    network = models.build("cnn2d", 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for training in (True, False):
        network.train(training)
        check_input(network, "cnn2d", 128, 128)
        accepts(network, "cnn2d", (128, 8))
        assert network.training == training
        assert not any(tensor.is_meta for tensor in network.state_dict().values())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["cnn1d", "cnn2d"])
def test_a_network_of_another_size_is_exported(name, tmp_path):
    features = LogMel(sample_rate=8000, hop_length=50, frames=131)
    network = Classifier(models.build(name, 2), Normalization("clip")).eval()
    export.write(tmp_path / "model.pt2", network, features, labels=["a", "b"], config={"model": name})
    model = export.Model.load(tmp_path / "model.pt2")
    assert model.metadata.geometry == features.geometry
    waveform = torch.from_numpy(np.random.default_rng(0).standard_normal((3, features.geometry.read_length))).float()
    with torch.no_grad():
        expected = network(features(waveform))
    torch.testing.assert_close(model(waveform), expected, rtol=1e-4, atol=1e-4)


class Fussy(nn.Module):
    """Asserts its input size, as networks of one's own often do."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        assert features.shape[1] >= 20 and features.shape[2] == 32, "at least 20 x 32"  # noqa: PT018
        return features.mean(2)[:, :2]


def test_the_exact_size_of_ones_own_network_is_proposed():
    with pytest.raises(UserError, match=r"fussy needs at least 20 rows and exactly 32 frames, .*: choose --frames 32$"):
        check_input(Fussy(), "fussy", 24, 40)
