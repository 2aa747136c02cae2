"""Every network has the documented shapes and size, and a few training steps lower its loss."""

import inspect
import re

import pytest
import torch
from torch import nn

import models
from models.layers import on_one_channel
from tests.train_cases import STUDY, shapes_of, slow_if_deep

NAMES = models.names()
VISION = ["alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "googlenet", "resnet34", "resnet50", "densenet"]
LARGE = 50_000_000  # parameters


def size_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def without_dropout(network: nn.Module) -> nn.Module:
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return network


def example(name: str, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make `n` examples of noise; each class has its own level."""
    labels = torch.arange(n)
    noise = torch.randn(n, *models.spec(name).shape)
    return noise * (1 + labels.reshape(n, *[1] * (noise.ndim - 1))), labels


def loss_of(output: torch.Tensor | tuple[torch.Tensor, ...], labels: torch.Tensor) -> torch.Tensor:
    heads = (output,) if isinstance(output, torch.Tensor) else output
    return sum(nn.functional.cross_entropy(head, labels) for head in heads)


def test_all_networks_of_the_study_are_registered():
    assert set(STUDY) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_has_the_shapes_that_its_docstring_states(name):
    text = inspect.getdoc(models.spec(name).build).replace("\n", " ")
    assert f"Input {['batch', *models.spec(name).shape]}".replace("'", "") in text
    assert "output [batch, n_classes]" in text
    assert shapes_of(name, 10).eval()(torch.empty(1, *models.spec(name).shape, device="meta")).shape == (1, 10)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_has_the_size_that_its_docstring_states(name):
    text = inspect.getdoc(models.spec(name).build).replace("\n", " ")
    stated = re.search(r"([\d,]+) parameters for ten classes", text)
    assert stated or name not in [*STUDY, "crnn_time"], "the docstrings of the study's networks state the size"
    if stated:
        assert f"{size_of(shapes_of(name, 10)):,}" == stated[1]


LAYERS = {name: shapes_of(name, 3).modules() for name in NAMES}
RECURRENT = [name for name, layers in LAYERS.items() if any(isinstance(layer, nn.RNNBase) for layer in layers)]


def test_there_are_recurrent_networks():
    assert set(RECURRENT) >= {"crnn", "crnn_time"}


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_recurrent_layers_compute_in_float32_under_autocast(name, device, request):
    device = request.getfixturevalue("cuda") if device == "cuda" else torch.device(device)
    network = models.build(name, 3).to(device)
    computed = []
    for layer in network.modules():
        if isinstance(layer, nn.RNNBase):
            layer.register_forward_hook(lambda layer, taken, made: computed.append((layer, taken[0], made[0])))
    with torch.no_grad():
        with torch.autocast(device.type, torch.bfloat16):
            assert network(example(name, 2)[0].to(device)).dtype == torch.bfloat16  # the other layers
        ((layer, taken, made),) = computed
        assert taken.dtype == made.dtype == torch.float32
        assert torch.equal(layer(taken)[0], made)


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_networks_compute_in_the_precision_of_their_weights(name):
    with torch.inference_mode():
        assert models.build(name, 3).eval().double()(example(name, 1)[0].double()).dtype == torch.float64


@pytest.mark.parametrize("name", slow_if_deep(NAMES))
def test_a_few_steps_lower_the_loss_with_finite_gradients_everywhere(name):
    torch.manual_seed(0)
    network = without_dropout(models.build(name, 3))
    features, labels = example(name, 3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.002, momentum=0.9, nesterov=True)
    losses = []
    for _ in range(1 if size_of(network) > LARGE else 2):
        loss = loss_of(network(features), labels)
        optimizer.zero_grad()
        loss.backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        assert loss_of(network(features), labels) < losses[0], losses


@pytest.mark.parametrize("name", [name for name in NAMES if name not in VISION])
def test_an_example_is_classified_the_same_alone_and_in_a_batch(name):
    torch.manual_seed(0)
    network = models.build(name, 4).eval()
    features, _ = example(name, 2)
    with torch.inference_mode():
        torch.testing.assert_close(network(features)[1:], network(features[1:]), rtol=1e-4, atol=1e-5)


def test_the_recurrent_layer_gets_128_steps_in_crnn_time_and_one_in_crnn():
    """The study's pooling leaves one step to the recurrent layer; crnn_time keeps all 128."""
    lengths = {}
    for name in ("crnn", "crnn_time"):
        network = models.build(name, 2).eval()
        network.gru.register_forward_hook(
            lambda gru, inputs, output, name=name: lengths.update({name: inputs[0].shape})
        )
        network(torch.zeros(1, 128, 128))
    assert lengths == {"crnn": (1, 1, 512), "crnn_time": (1, 128, 512)}


@pytest.mark.parametrize("name", [name for name in STUDY if name not in VISION])
def test_layers_for_other_sizes_change_nothing_at_the_size_of_the_study(name):
    """At that size, pools to a fixed size return their input, and the recurrent network averages over a single band."""
    network = models.build(name, 2).eval()
    pools = [layer for layer in network.modules() if isinstance(layer, nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d)]
    unchanged, bands = [], []
    for pool in pools:
        pool.register_forward_hook(lambda pool, inputs, output: unchanged.append(torch.equal(inputs[0], output)))
    if name == "crnn":
        network.convolutions.register_forward_hook(lambda layers, inputs, output: bands.append(output.shape[2]))
    with torch.inference_mode():
        network(example(name, 1)[0])
    assert (unchanged, bands) == (([], [1]) if name == "crnn" else ([True], []))


@pytest.mark.parametrize("name", ["cnn1d", "cnn2d", "alexnet", "vgg11"])
def test_no_gradient_of_an_adaptive_pool_is_needed_at_the_size_of_the_study(name):
    """On a GPU, torch would sum it in a different order in each run, and warn."""
    network = models.build(name, 2)
    output, names, seen = network(example(name, 2)[0]).sum().grad_fn, set(), set()
    nodes = [output]
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            names.add(node.name())
            nodes += [function for function, _ in node.next_functions]
    assert any("Conv" in name for name in names)
    assert not [name for name in names if "AdaptiveAvgPool" in name]


@pytest.mark.parametrize(
    ("name", "n_relu", "dropout"),
    [
        ("cnn1d", 5 + 2, [0.5, 0.5]),
        ("cnn2d", 4 + 2, [0.5, 0.5]),
        ("crnn", 4 + 2, [0.5, 0.5]),
        ("samplecnn", 11, [0.5]),
        ("vgg11", 8 + 2, [0.0, 0.0]),
    ],
)
def test_networks_have_the_expected_relus_and_dropouts(name, n_relu, dropout):
    layers = list(shapes_of(name, 2).modules())
    assert sum(isinstance(layer, nn.ReLU) for layer in layers) == n_relu
    assert [layer.p for layer in layers if isinstance(layer, nn.Dropout)] == dropout


def test_a_convolution_of_one_channel_equals_that_of_three_on_a_grey_image():
    three = nn.Conv2d(3, 4, 5, stride=2, padding=1)
    grey = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(on_one_channel(three)(grey), three(grey.expand(-1, 3, -1, -1)))


def test_googlenet_has_its_auxiliary_heads_in_training_only():
    network = models.build("googlenet", 3)
    heads = network(torch.randn(2, 128, 128))
    assert [tuple(head.shape) for head in heads] == [(2, 3)] * 3
    assert isinstance(network.eval()(torch.randn(2, 128, 128)), torch.Tensor)


def test_the_error_for_an_unknown_network_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no network 'vgg12'; there are cnn1d, .*vgg11.*cnn2d"):
        models.build("vgg12", 10)


def test_a_network_of_one_class_is_refused():
    with pytest.raises(ValueError, match="at least two classes, got n_classes=1"):
        models.build("cnn2d", 1)


@pytest.mark.parametrize(
    ("name", "pools"),
    [
        ("cnn1d", [3, 3, 3]),
        ("cnn2d", [(2, 2), (2, 2), (4, 4), (4, 4)]),
        ("crnn", [(2, 2), (2, 2), (4, 4), (8, 8)]),
        ("crnn_time", [(2, 1), (2, 1), (4, 1), (8, 1)]),
        ("samplecnn", [3] * 9),
    ],
)
def test_networks_pool_as_they_say(name, pools):
    layers = shapes_of(name, 2).modules()
    assert [layer.kernel_size for layer in layers if isinstance(layer, nn.MaxPool1d | nn.MaxPool2d)] == pools


def test_the_recurrent_network_averages_bands_and_time():
    network = models.build("crnn_time", 2).eval()
    seen = []
    for layer in (network.convolutions, network.gru, network.classifier):
        layer.register_forward_hook(lambda layer, inputs, output: seen.append((inputs[0], output)))
    network(torch.randn(2, 256, 3))
    (_, maps), (frames, (states, _)), (summary, _) = seen
    assert maps.shape == (2, 512, 2, 3)
    torch.testing.assert_close(frames, maps.mean(dim=2).transpose(1, 2))
    torch.testing.assert_close(summary, states.mean(dim=1))


def test_the_new_linear_layer_of_vgg_is_initialised_as_torchvisions():
    linear = models.build("vgg11", 2)[1].classifier[0]
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert not linear.bias.any()


def test_every_vgg_has_the_same_lower_learning_rate():
    rates = [models.spec(name).lr for name in NAMES if name.startswith("vgg")]
    assert rates == [models.VGG_LR] * 4
