"""The networks by name: the study's 13, and `crnn_time`, our variant of `crnn`.

To add a network, add a file to this folder and an entry to `REGISTRY`.
"""

from torch import nn

from models.alexnet import alexnet
from models.cnn1d import cnn1d
from models.cnn2d import cnn2d
from models.crnn import crnn, crnn_time
from models.densenet import densenet
from models.googlenet import googlenet
from models.resnet import resnet34, resnet50
from models.samplecnn import samplecnn
from models.spec import Spec
from models.vgg import vgg11, vgg13, vgg16, vgg19

__all__ = ["REGISTRY", "Spec", "build", "names", "spec"]

VGG_LR = {"adam": 2e-4, "adamw": 2e-4}

REGISTRY: dict[str, Spec] = {
    "cnn1d": Spec(build=cnn1d, frames=1024, batch_size=64),
    "alexnet": Spec(build=alexnet, lr={"adam": 3e-4, "adamw": 3e-4}),
    "vgg11": Spec(build=vgg11, lr=VGG_LR),
    "vgg13": Spec(build=vgg13, lr=VGG_LR),
    "vgg16": Spec(build=vgg16, lr=VGG_LR),
    "vgg19": Spec(build=vgg19, lr=VGG_LR),
    "googlenet": Spec(build=googlenet),
    "resnet34": Spec(build=resnet34),
    "resnet50": Spec(build=resnet50),
    "densenet": Spec(build=densenet),
    "samplecnn": Spec(build=samplecnn, features="waveform", rows=1, frames=66_150, normalization="clip"),
    "cnn2d": Spec(build=cnn2d),
    "crnn": Spec(build=crnn),
    "crnn_time": Spec(build=crnn_time),
}


def names() -> list[str]:
    """Return the names of all networks: the study's in the order of its table, then `crnn_time` and any others."""
    return list(REGISTRY)


def spec(name: str) -> Spec:
    """Return the settings of a network: its input and its training defaults.

    Raises
    ------
    ValueError
        If there is no such network; the message lists all names.
    """
    if name not in REGISTRY:
        raise ValueError(f"there is no network {name!r}; there are {', '.join(names())}")
    return REGISTRY[name]


def build(name: str, n_classes: int) -> nn.Module:
    """Build a network with new weights, initialised from torch's global random numbers.

    Returns
    -------
    Module
        Maps features ``[batch, *spec(name).shape]`` to logits [batch, n_classes]. In training mode, a network with
        auxiliary heads returns a tuple: its own logits, then those of the heads.

    Raises
    ------
    ValueError
        If there is no such network, or `n_classes` is below 2.

    Examples
    --------
    >>> import torch
    >>> build("cnn2d", 10)(torch.zeros(2, 128, 128)).shape
    torch.Size([2, 10])
    """
    if n_classes < 2:
        raise ValueError(f"a classifier needs at least two classes, got n_classes={n_classes}")
    return spec(name).build(n_classes)
