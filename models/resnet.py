"""Residual networks, from torchvision."""

from collections.abc import Callable

import torchvision
from torch import nn
from torchvision.models import ResNet

from models.layers import Channel, on_one_channel


def _resnet(build: Callable[..., ResNet], n_classes: int) -> nn.Module:
    network = build(weights=None, num_classes=n_classes)
    network.conv1 = on_one_channel(network.conv1)
    return nn.Sequential(Channel(), network)


def resnet34(n_classes: int) -> nn.Module:
    """Build ResNet-34 for one input channel.

    Input [batch, 128, 128], output [batch, n_classes]. 21,283,530 parameters for ten classes.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016.
    """
    return _resnet(torchvision.models.resnet34, n_classes)


def resnet50(n_classes: int) -> nn.Module:
    """Build ResNet-50, with bottleneck blocks, for one input channel.

    Input [batch, 128, 128], output [batch, n_classes]. 23,522,250 parameters for ten classes.
    See `resnet34` for the paper.
    """
    return _resnet(torchvision.models.resnet50, n_classes)
