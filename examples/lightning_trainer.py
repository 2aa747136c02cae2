"""Lightning: `Trainer.fit` takes a loader and its evaluation as they are. Needs `pip install lightning`.

python examples/lightning_trainer.py --shards shards/

With `--served 127.0.0.1:5690` in place of the shards, a feature service makes the batches; see docs/service.md.
"""

import argparse
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from gtzan_stream import Batch, Loader


class Classifier(lightning.LightningModule):
    """A small network that is trained with AdamW."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        layers = nn.Conv1d(128, 64, 5), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(64, n_classes)
        self.network = nn.Sequential(*layers)

    def loss_of(self, batch: Batch) -> Tensor:
        losses = nn.functional.cross_entropy(self.network(batch.features), batch.targets, reduction="none")
        return (losses * batch.loss_weights).sum()  # the mean over the global batch, with any number of devices

    def training_step(self, batch: Batch, index: int) -> Tensor:
        return self.loss_of(batch)

    def validation_step(self, batch: Batch, index: int) -> None:
        self.log("valid_loss", self.loss_of(batch), sync_dist=True, batch_size=1)  # it is weighted already

    def on_train_epoch_end(self) -> None:
        self.print(f"epoch {self.current_epoch}: valid loss {self.trainer.callback_metrics['valid_loss']:.3f}")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


if __name__ == "__main__":  # with more devices, Lightning starts this program once for each
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", default="shards/")
    parser.add_argument("--served", metavar="ADDRESS", help="addresses of a feature service, in place of --shards")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    settings: dict[str, Any] = {"split": "stratified", "part": "train", "batch_size": 16, "augment": "study"}
    if arguments.served:
        from gtzan_stream.service import ServedLoader  # needs pyzmq

        loader: Loader = ServedLoader(arguments.served, **settings)
    else:
        loader = Loader(arguments.shards, **settings)
    trainer = lightning.Trainer(max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.fit(Classifier(len(loader.labels)), loader, loader.evaluation("valid"))
