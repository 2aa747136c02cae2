"""Ray Train: each worker gets its rows of the global batch from a feature service. Needs `pip install ray[train]`.

gtzan-stream serve shards/
python examples/ray_train.py --served 127.0.0.1:5690

Ray starts and connects the workers; the batches come from the servers, not through Ray. See docs/service.md.
"""

import argparse
import tempfile
from typing import Any

import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, prepare_model
from torch import distributed, nn

from gtzan_stream.service import ServedLoader


def train(settings: dict[str, Any]) -> None:
    """Train in one worker."""
    torch.manual_seed(0)
    # The loader asks torch.distributed, which Ray has connected, for its rank when an epoch begins.
    with ServedLoader(settings["served"], split="stratified", part="train", batch_size=16, augment="study") as loader:
        head = nn.Linear(64, len(loader.labels))
        layers = nn.Conv1d(128, 64, 5), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), head
        network = prepare_model(nn.Sequential(*layers))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        for epoch in range(3):
            total = torch.zeros(())
            for batch in loader:
                of_rows = nn.functional.cross_entropy(network(batch.features), batch.targets, reduction="none")
                loss = (of_rows * batch.loss_weights).sum()  # its average over workers is the mean over the batch
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.detach()
            distributed.all_reduce(total)
            if distributed.get_rank() == 0:
                print(f"epoch {epoch}: loss {float(total) / distributed.get_world_size() / len(loader):.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--served", metavar="ADDRESS", default="127.0.0.1:5690")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trainer = TorchTrainer(
            train,
            train_loop_config={"served": arguments.served},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(storage_path=folder),
        )
        trainer.fit()
