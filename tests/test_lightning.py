"""Lightning takes a Loader and its batches as they are."""

import pytest
import torch

from gtzan_stream.batch import Batch
from gtzan_stream.loader import Loader
from tests.conftest import need

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Lightning's own, of the number of workers and of deprecated imports
]


def test_a_trainer_fits_a_loader_and_validates_on_its_evaluation(shards):
    lightning = need("lightning")
    seen: list[tuple[str, int, int]] = []

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(128, 3)

        def loss(self, batch: Batch) -> torch.Tensor:
            features, labels = batch
            losses = torch.nn.functional.cross_entropy(self.layer(features.mean(2)), labels, reduction="none")
            return (losses * batch.weights).sum() / batch.weights.sum().clamp(min=1)

        def training_step(self, batch: Batch, index: int) -> torch.Tensor:
            assert type(batch) is Batch
            seen.append(("train", batch.epoch, index))
            loss = self.loss(batch)
            self.log("loss", loss)
            return loss

        def validation_step(self, batch: Batch, index: int) -> None:
            seen.append(("valid", batch.epoch, index))
            self.log("valid_loss", self.loss(batch))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    loader = Loader(shards, split="three", part="train", batch_size=8, augment="study")
    evaluation = loader.evaluation("valid")
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", num_sanity_val_steps=0, **quiet)
    trainer.fit(Module(), loader, evaluation)
    assert [entry for entry in seen if entry[0] == "train"] == [
        ("train", epoch, index) for epoch in range(2) for index in range(len(loader))
    ]
    assert len([entry for entry in seen if entry[0] == "valid"]) == 2 * len(evaluation)
    assert loader.epoch == 2
