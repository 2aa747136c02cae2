"""Train with Lightning in subprocesses and record the batches of each rank: lightning_program.py JOBS.

JOBS is a JSON list; the jobs run one after the other. A job has `name`, `shards` and `out`, and optionally `devices`,
`settings` (of the loader), `checkpoint` (to resume from), `save` (save checkpoints `out`/NAME-STEP.ckpt after each
step, and at the other moments where users save them), `raise` (raise an error in that step), `repeat` (repeat epoch 0),
`wrap` (wrap the loader in a DataLoader) and `trainer` (options of Trainer). Each rank writes `out`/NAME.RANK.json.
"""

import json
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from gtzan_stream import Batch, Loader
from tests.trainer_runs import SETTINGS, described


class Module(lightning.LightningModule):
    """A network without batch normalisation that records its batches."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.Linear(128, 16), torch.nn.Tanh(), torch.nn.Linear(16, 10))
        self.seen: list[dict[str, Any]] = []
        self.job = job

    def on_train_epoch_start(self) -> None:
        if self.job.get("repeat"):
            self.trainer.train_dataloader.set_epoch(0)

    def loss(self, batch: Batch) -> torch.Tensor:
        losses = cross_entropy(self.network(batch.features.mean(2)), batch.targets, reduction="none")
        return (losses * batch.loss_weights).sum()

    def record(self, kind: str, batch: Batch, index: int) -> None:
        assert type(batch) is Batch
        assert batch.features.dtype == torch.float32
        self.seen.append({"kind": kind, "epoch": batch.epoch, "index": index, "rows": described(batch)})

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        if self.job.get("raise") == self.global_step + 1:
            raise RuntimeError("something in the step")
        self.record("train", batch, index)
        return self.loss(batch)

    def validation_step(self, batch: Batch, index: int) -> None:
        self.record("valid", batch, index)
        self.log("valid_loss", self.loss(batch), sync_dist=True, batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Save(lightning.Callback):
    """Save checkpoints after each step, after validation, at the end of an epoch, and after an error."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job

    def save(self, trainer: lightning.Trainer, when: str) -> None:
        if self.job.get("save"):
            trainer.save_checkpoint(f"{self.job['out']}/{self.job['name']}-{trainer.global_step}{when}.ckpt")

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.save(trainer, "")

    def on_validation_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.save(trainer, "-validated")

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.save(trainer, "-ended")

    def on_exception(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.save(trainer, "-raised")


def run_job(job: dict[str, Any]) -> None:
    devices = job.get("devices", 1)
    loader = Loader(job["shards"], **SETTINGS | job.get("settings", {}))
    module, save = Module(job), Save(job)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        callbacks=[save],
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **({"max_epochs": 2} | job.get("trainer", {})),
    )
    train_data = DataLoader(loader, batch_size=None) if job.get("wrap") else loader
    with suppress(RuntimeError) if "raise" in job else nullcontext():
        trainer.fit(module, train_data, loader.evaluation("valid"), ckpt_path=job.get("checkpoint"))
        assert trainer.train_dataloader is train_data, "Lightning replaced the loader"
        save.save(trainer, "-fitted")
    weights = {name: value.tolist() for name, value in module.state_dict().items()}
    result = {"seen": module.seen, "state": loader.state_dict(), "steps": trainer.global_step, "weights": weights}
    result["valid_loss"] = float(trainer.callback_metrics.get("valid_loss", 0))
    Path(job["out"], f"{job['name']}.{trainer.global_rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    for job in json.loads(sys.argv[1]):
        run_job(job)
