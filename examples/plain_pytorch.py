"""Plain PyTorch: train a small network for three epochs and validate it, in 20 lines.

python examples/plain_pytorch.py --shards shards/

With `--served 127.0.0.1:5690` in place of the shards, a feature service makes the batches; see docs/service.md.
"""

import argparse
from typing import Any

import torch
from torch import nn

from gtzan_stream import Loader

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--shards", default="shards/")
parser.add_argument("--served", metavar="ADDRESS", help="addresses of a feature service, in place of --shards")
arguments = parser.parse_args()

settings: dict[str, Any] = {"split": "stratified", "part": "train", "batch_size": 16, "augment": "study"}
if arguments.served:
    from gtzan_stream.service import ServedLoader  # needs pyzmq

    loader: Loader = ServedLoader(arguments.served, **settings)
else:
    loader = Loader(arguments.shards, **settings)
torch.manual_seed(0)
with loader:
    layers = nn.Conv1d(128, 64, 5), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(64, len(loader.labels))
    network = nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for epoch in range(3):
        total = 0.0
        for batch in loader:  # crops and augmentations differ in each epoch
            losses = nn.functional.cross_entropy(network(batch.features), batch.targets, reduction="none")
            loss = (losses * batch.loss_weights).sum()  # the mean over the rows that count
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.3f}")
    correct = counted = 0.0
    for batch in loader.evaluation("valid"):  # the chunks of each clip, in order and not augmented
        is_correct = network(batch.features).argmax(1) == batch.labels
        correct += float((is_correct * batch.weights).sum())  # rows with weight 0 fill the last batch
        counted += float(batch.weights.sum())
    print(f"valid: {correct / counted:.1%} of {counted:.0f} chunks are correct")
