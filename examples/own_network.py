"""Your own network: a recurrent one, trained with mixup and SpecAugment, and tested on whole tracks.

python examples/own_network.py --shards shards/

To train a network with train.py, which writes checkpoints and a report, add it to `models/`: see CONTRIBUTING.md.
"""

import argparse
from collections import defaultdict

import torch
from torch import Tensor, nn

from gtzan_stream import Loader, spec_augment_mask


class Recurrent(nn.Module):
    """A convolution that shortens time, a GRU in both directions, and the mean over time."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.convolution = nn.Sequential(nn.Conv1d(128, 64, 4, stride=4), nn.BatchNorm1d(64), nn.ReLU())
        self.gru = nn.GRU(64, 32, batch_first=True, bidirectional=True)
        self.classify = nn.Linear(64, n_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [batch, mel, frame] to logits [batch, n_classes]."""
        hidden, _ = self.gru(self.convolution(features).transpose(1, 2))  # [batch, frame, 64]
        return self.classify(hidden.mean(1))


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--shards", default="shards/")
arguments = parser.parse_args()

torch.manual_seed(0)
with Loader(arguments.shards, split="stratified", part="train", augment="study", mixup=0.2) as loader:
    network = Recurrent(len(loader.labels))
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    for epoch in range(3):
        total = 0.0
        for batch in loader:
            features = batch.features.masked_fill(spec_augment_mask(batch, 16), float(batch.features.mean()))
            losses = nn.functional.cross_entropy(network(features), batch.targets, reduction="none")
            loss = (losses * batch.loss_weights).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(loader):.3f}")

    network.eval()
    votes: dict[str, Tensor] = defaultdict(lambda: torch.zeros(len(loader.labels)))
    truth: dict[str, int] = {}
    for batch in loader.evaluation("test"):
        with torch.no_grad():
            probabilities = network(batch.features).softmax(1) * batch.weights[:, None]
        for key, label, row in zip(batch.keys, batch.labels.tolist(), probabilities, strict=True):
            votes[key] += row  # the sum over the chunks of a track
            truth[key] = label
    correct = sum(int(votes[key].argmax()) == label for key, label in truth.items())
    print(f"test: {correct} of {len(truth)} tracks are correct")
