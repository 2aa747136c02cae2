"""Layers that several networks share."""

from itertools import pairwise

from torch import Tensor, nn


class Channel(nn.Module):
    """Add the channel axis that two-dimensional convolutions expect: [batch, mel, frame] to [batch, 1, mel, frame]."""

    def forward(self, features: Tensor) -> Tensor:
        return features.unsqueeze(1)


class AveragePool1d(nn.AdaptiveAvgPool1d):
    """Average neighbouring steps, so that `output_size` steps remain. Return the steps if there are as many already.

    On a GPU, torch sums the gradients of an adaptive pool in a different order in each run. Inputs of the usual size
    need no pool, so that runs can be repeated.
    """

    def forward(self, steps: Tensor) -> Tensor:
        return steps if steps.shape[-1] == self.output_size else super().forward(steps)


class AveragePool2d(nn.AdaptiveAvgPool2d):
    """`AveragePool1d` for square maps."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps if maps.shape[-2:] == (self.output_size, self.output_size) else super().forward(maps)


def block(n_in: int, n_out: int, pool: tuple[int, int]) -> nn.Sequential:
    """Build a 3 x 3 convolution, batch norm, ReLU and max-pooling by `pool` (mel, frame)."""
    # No bias: the batch norm would subtract it again.
    convolution = nn.Conv2d(n_in, n_out, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU(inplace=True), nn.MaxPool2d(pool))


def classifier(*sizes: int, dropout: float = 0.5) -> nn.Sequential:
    """Build linear layers of the given sizes, with ReLU and dropout between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes[:-1]):
        layers += [nn.Linear(n_in, n_out), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def on_one_channel(convolution: nn.Conv2d) -> nn.Conv2d:
    """Return a copy of a network's first convolution that takes one channel instead of three colours.

    Its weights are the sums over the three colours, so its output is that of the original convolution for a grey image.
    The variance of the output stays as initialised by the network's authors.
    """
    one = nn.Conv2d(
        1,
        convolution.out_channels,
        kernel_size=convolution.kernel_size,  # type: ignore[arg-type]
        stride=convolution.stride,  # type: ignore[arg-type]
        padding=convolution.padding,  # type: ignore[arg-type]
        bias=convolution.bias is not None,
    )
    one.load_state_dict({**convolution.state_dict(), "weight": convolution.weight.sum(dim=1, keepdim=True)})
    return one
