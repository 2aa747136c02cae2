"""Helpers for tests of the loader."""

import torch

from gtzan_stream.epochs import Epochs


def collect(*loaders: Epochs) -> dict[tuple[str, int], torch.Tensor]:
    """Return features by example, in the order of the global batches of all ranks, without rows of weight 0."""
    out = {}
    for batches in zip(*loaders, strict=True):
        for batch in batches:
            for row in range(len(batch)):
                if batch.weights[row]:
                    example = batch.keys[row], int(batch.crops[row])
                    assert example not in out, f"{example} comes twice"
                    out[example] = batch.features[row]
    return out


def assert_same(a: dict, b: dict) -> None:
    assert list(a) == list(b)
    for example, features in a.items():
        assert torch.equal(features, b[example]), example
