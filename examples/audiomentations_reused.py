"""Transforms of audiomentations in the loader: reproducible, in worker processes, after one of ours.

Needs `pip install audiomentations`.

python examples/audiomentations_reused.py --shards shards/
"""

import argparse

import audiomentations
import torch

from gtzan_stream import Loader
from gtzan_stream.augment import Audiomentations, Compose, PitchShift

if __name__ == "__main__":  # worker processes may import this file
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", default="shards/")
    arguments = parser.parse_args()

    theirs = audiomentations.Compose([
        audiomentations.SevenBandParametricEQ(p=1.0),
        audiomentations.ClippingDistortion(max_percentile_threshold=20, p=0.5),
    ])  # fmt: skip
    augment = Compose([PitchShift(-2, 2), Audiomentations(theirs, p=0.8)])
    with Loader(arguments.shards, split="stratified", part="train", batch_size=8, augment=augment, seed=1) as loader:
        first = next(iter(loader))
        again = next(iter(loader))  # the epoch was left, so it begins again
        print("the same epoch gives the same batch:", torch.equal(first.features, again.features))
        changed = (first.features - loader.unaugmented(first)).abs().mean((1, 2))
        for row, key in enumerate(first.keys):
            print(f"{key}: features change by {changed[row]:.3f}: {first.draw.describe(row)}")
    augment.close()  # ends the worker processes
