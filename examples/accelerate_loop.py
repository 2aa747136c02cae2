"""Accelerate: prepare the network and the optimiser, register the loader, resume from a saved state.

Needs `pip install accelerate`. The second call continues after the third epoch of the first:

python examples/accelerate_loop.py --shards shards/ --state state/ --epochs 3
python examples/accelerate_loop.py --shards shards/ --state state/ --epochs 5
"""

import argparse
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from gtzan_stream import Loader

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--shards", default="shards/")
parser.add_argument("--state", default="state/")
parser.add_argument("--epochs", type=int, default=3)
arguments = parser.parse_args()

accelerator = Accelerator()
loader = Loader(arguments.shards, split="stratified", part="train", batch_size=16, device=accelerator.device)
torch.manual_seed(0)
layers = nn.Conv1d(128, 64, 5), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(64, len(loader.labels))
network = nn.Sequential(*layers)
network, optimizer = accelerator.prepare(network, torch.optim.AdamW(network.parameters(), lr=2e-3))
accelerator.register_for_checkpointing(loader)  # its state says which epoch and batch come next
if Path(arguments.state).exists():
    accelerator.load_state(arguments.state)

while loader.epoch < arguments.epochs:
    epoch, total = loader.epoch, torch.zeros((), device=accelerator.device)
    for batch in loader:
        losses = nn.functional.cross_entropy(network(batch.features), batch.targets, reduction="none")
        loss = (losses * batch.loss_weights).sum()  # averaged over processes: the mean over the global batch
        optimizer.zero_grad()
        accelerator.backward(loss)
        optimizer.step()
        total += loss.detach()
    mean = accelerator.reduce(total, "mean") / len(loader)
    accelerator.print(f"epoch {epoch}: loss {mean:.3f}")
    accelerator.save_state(arguments.state)
