"""Convolutions along time, with the mel bands as channels."""

from torch import nn

from models.layers import AveragePool1d, classifier


def cnn1d(n_classes: int) -> nn.Module:
    """Build the 5L-1D CNN: kernels of 7, 7, 3, 3, 3 frames, max-pooling by 3 after layers 1, 2 and 5, linear layers.

    Input [batch, 128, 1024], output [batch, n_classes]. 6,821,194 parameters for ten classes.

    References
    ----------
    .. [1] X. Zhang, J. Zhao, Y. LeCun, "Character-level convolutional networks for text classification", NIPS 2015.
       This network has the same kernels and pools, and one layer fewer.
    """
    layers: list[nn.Module] = []
    for n_in, kernel, pooled in ((128, 7, True), (64, 7, True), (64, 3, False), (64, 3, False), (64, 3, True)):
        layers += [nn.Conv1d(n_in, 64, kernel), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool1d(3)] if pooled else []
    pool = AveragePool1d(35)  # changes nothing for 1,024 frames, which leave 35 steps
    return nn.Sequential(*layers, pool, nn.Flatten(), classifier(64 * 35, 2048, 1024, n_classes))
