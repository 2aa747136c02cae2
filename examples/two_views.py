"""Two views: learn without labels which two augmentations belong to the same crop (contrastive learning).

python examples/two_views.py --shards shards/
"""

import argparse

import torch
from torch import nn

from gtzan_stream import Loader

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--shards", default="shards/")
arguments = parser.parse_args()

torch.manual_seed(0)
layers = nn.Conv1d(128, 64, 5), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 32)
encoder = nn.Sequential(*layers)
optimizer = torch.optim.AdamW(encoder.parameters(), lr=2e-3)
with Loader(arguments.shards, split="stratified", part="train", batch_size=16, views=2, augment="strong") as loader:
    for epoch in range(2):
        total = found = 0.0
        for batch in loader:  # features [batch, 2, mel, frame]: two draws for each crop
            first, second = (nn.functional.normalize(encoder(view)) for view in batch.features.unbind(1))
            similarity = first @ second.T / 0.1  # [batch, batch]: cosines, over a temperature
            partner = torch.arange(len(batch))  # row i of one view belongs to row i of the other
            loss = nn.functional.cross_entropy(similarity, partner)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
            found += (similarity.argmax(1) == partner).float().mean().item()
        print(f"epoch {epoch}: loss {total / len(loader):.3f}, {found / len(loader):.0%} find their other view")
