"""A program that trains with Lightning, in a process of its own, and writes down what each rank saw.

Called with a JSON list of jobs, done one after the other: `name`, `shards`, `out`, and optionally `devices`, `checkpoint`
(to resume from), `save` (a checkpoint after each step, `out`/NAME-STEP.ckpt), `stop` (after that step), `trainer` (options
of Trainer) and `loader` (options of Loader). Each rank writes `out`/NAME.RANK.json.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.nn.functional import cross_entropy

from gtzan_stream import Batch, Loader


def digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()[:16]


class Module(lightning.LightningModule):
    """A network without batch norm, which writes down its batches."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.Linear(128, 16), torch.nn.Tanh(), torch.nn.Linear(16, 10))
        self.seen: list[dict[str, Any]] = []

    def loss(self, batch: Batch) -> torch.Tensor:
        losses = cross_entropy(self.network(batch.features.mean(2)), batch.labels, reduction="none")
        return (losses * batch.weights).sum() / batch.weights.sum().clamp(min=1)

    def note(self, kind: str, batch: Batch, index: int) -> None:
        assert type(batch) is Batch
        assert batch.features.dtype == torch.float32
        rows = zip(batch.keys, batch.crops, batch.starts, batch.weights, batch.features, strict=True)
        self.seen.append(
            {
                "kind": kind,
                "epoch": batch.epoch,
                "current_epoch": self.current_epoch,
                "index": index,
                "rows": [
                    [key, int(crop), int(start), float(weight), digest(f)] for key, crop, start, weight, f in rows
                ],
            }
        )

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        self.note("train", batch, index)
        return self.loss(batch)

    def validation_step(self, batch: Batch, index: int) -> None:
        self.note("valid", batch, index)
        self.log("valid_loss", self.loss(batch), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Save(lightning.Callback):
    """Save a checkpoint after steps and at the ends of epochs, and stop where the job says so."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if self.job.get("save"):
            trainer.save_checkpoint(f"{self.job['out']}/{self.job['name']}-{trainer.global_step}.ckpt")
        if trainer.global_step == self.job.get("stop"):
            trainer.should_stop = True

    def on_validation_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if self.job.get("save"):
            trainer.save_checkpoint(f"{self.job['out']}/{self.job['name']}-{trainer.global_step}-validated.ckpt")

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if self.job.get("save"):
            trainer.save_checkpoint(f"{self.job['out']}/{self.job['name']}-{trainer.global_step}-ended.ckpt")


def do(job: dict[str, Any]) -> None:
    devices = job.get("devices", 1)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings = {"split": "demo", "part": "train", "batch_size": 8, "seed": 3, "crops_per_clip": 2}
    loader = Loader(job["shards"], **(settings | job.get("loader", {})))
    module = Module()
    options = {"max_epochs": 2, "num_sanity_val_steps": 0, "enable_checkpointing": False, "limit_val_batches": 1}
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        callbacks=[Save(job)],
        **(options | quiet | job.get("trainer", {})),
    )
    trainer.fit(module, loader, loader.evaluation("valid"), ckpt_path=job.get("checkpoint"))
    assert trainer.train_dataloader is loader
    if job.get("save"):
        trainer.save_checkpoint(f"{job['out']}/{job['name']}-fitted.ckpt")
    found = {
        "seen": module.seen,
        "state": loader.state_dict(),
        "n_batches": len(loader),
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "weights": {name: value.tolist() for name, value in module.state_dict().items()},
    }
    Path(job["out"], f"{job['name']}.{trainer.global_rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    for job in json.loads(sys.argv[1]):
        do(job)
