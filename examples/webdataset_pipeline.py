"""A plain webdataset pipeline: augmented in one of its stages, with log-mel features batch by batch.

python examples/webdataset_pipeline.py --shards shards/
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import webdataset

from gtzan_stream import LogMel
from gtzan_stream.augment import recipe, stage

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--shards", default="shards/")
arguments = parser.parse_args()

log_mel = LogMel()


def crop(sample: dict[str, Any]) -> tuple[str, torch.Tensor, str]:
    """Return the key, the first three seconds and the label of a clip that is longer than that."""
    samples = sample["wav"][: log_mel.geometry.read_length]  # float32 [time], decoded and augmented by the stage
    return sample["__key__"], samples, json.loads(sample["json"])["label"]


augment = stage(recipe("study"), seed=0, epoch=0)  # set augment.epoch before each epoch
shards = [str(path) for path in sorted(Path(arguments.shards).glob("*.tar"))]
dataset = webdataset.WebDataset(shards, shardshuffle=False).compose(augment).map(crop).batched(8)
for number, (keys, waveform, labels) in enumerate(dataset):
    features = log_mel(torch.as_tensor(waveform))  # move the waveforms to a GPU first, if there is one
    draw = augment.transform.draw(keys, seed=0, epoch=0)
    print(f"batch {number}: features {list(features.shape)}; {keys[0]} is {labels[0]}: {draw.describe(0)}")
