"""VGG with batch norm and without dropout, from torchvision."""

from collections.abc import Callable

import torchvision
from torch import nn
from torchvision.models import VGG

from models.layers import AveragePool2d, Channel, on_one_channel


def _vgg(build: Callable[..., VGG], n_classes: int) -> nn.Module:
    # Without dropout: beside batch norm it only adds noise, and the deeper VGGs stayed at chance for hundreds of steps.
    network = build(weights=None, num_classes=n_classes, dropout=0.0)
    network.features[0] = on_one_channel(network.features[0])
    # The convolutions reduce 128 x 128 to 4 x 4, so the first linear layer reads 4 x 4 maps, not a photograph's 7 x 7.
    network.avgpool = AveragePool2d(4)
    network.classifier[0] = linear = nn.Linear(512 * 4 * 4, 4096)
    nn.init.normal_(linear.weight, std=0.01)  # as torchvision does
    nn.init.zeros_(linear.bias)
    return nn.Sequential(Channel(), network)


def vgg11(n_classes: int) -> nn.Module:
    """Build VGG-11 with batch norm for one input channel.

    Input [batch, 128, 128], output [batch, n_classes]. 59,605,642 parameters for ten classes.

    References
    ----------
    .. [1] K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
    """
    return _vgg(torchvision.models.vgg11_bn, n_classes)


def vgg13(n_classes: int) -> nn.Module:
    """Build VGG-13 with batch norm for one input channel.

    Input [batch, 128, 128], output [batch, n_classes]. 59,790,538 parameters for ten classes.
    See `vgg11` for the paper.
    """
    return _vgg(torchvision.models.vgg13_bn, n_classes)


def vgg16(n_classes: int) -> nn.Module:
    """Build VGG-16 with batch norm for one input channel.

    Input [batch, 128, 128], output [batch, n_classes]. 65,102,794 parameters for ten classes.
    See `vgg11` for the paper.
    """
    return _vgg(torchvision.models.vgg16_bn, n_classes)


def vgg19(n_classes: int) -> nn.Module:
    """Build VGG-19 with batch norm for one input channel.

    Input [batch, 128, 128], output [batch, n_classes]. 70,415,050 parameters for ten classes.
    See `vgg11` for the paper.
    """
    return _vgg(torchvision.models.vgg19_bn, n_classes)
