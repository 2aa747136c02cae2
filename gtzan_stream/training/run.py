"""Run a training: epochs of training and validation, then a test and a report.

The network comes from a function that the caller passes in, so this package does not depend on `models`.
"""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from gtzan_stream.batch import Batch
from gtzan_stream.epochs import Epochs
from gtzan_stream.errors import UserError
from gtzan_stream.inference.export import logits_of
from gtzan_stream.normalization import Normalization
from gtzan_stream.spec_augment import spec_augment_mask
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.training import (
    checkpoints,
    collectives,
    device,
    inputs,
    metrics,
    optimizers,
    report,
    results,
    schedules,
    stored,
)
from gtzan_stream.training.clock import DataClock
from gtzan_stream.training.config import Config
from gtzan_stream.training.display import Display
from gtzan_stream.training.interrupt import Interrupt, Interrupted
from gtzan_stream.training.losses import loss_of
from gtzan_stream.training.network import Classifier
from gtzan_stream.training.progress import RunProgress, sums_of

Build = Callable[[str, int], nn.Module]
"""(name, number of classes) -> network, from features [batch, row, frame] to logits [batch, class]."""


class Diverged(UserError):
    """The loss of an epoch is not finite."""


class Run:
    """A training run: its data, network, optimizer, schedule and progress.

    With several processes, each holds a run and does the same steps on its own rows; rank 0 writes the files.

    Parameters
    ----------
    config : Config
        With all settings filled in by `defaults.complete`.
    folder : Path
        Folder for the run's files.
    build : callable (name, n_classes) -> Module
    console : Console, optional

    Attributes
    ----------
    notes : list of str
        Notes about the clips to show before training.
    lock : ExitStack
        Holds the lock on the folder until the run is closed.
    """

    def __init__(self, config: Config, folder: Path, *, build: Build, console: Console | None = None) -> None:
        self.config, self.folder, self.console, self.lock = config, folder, console or Console(), ExitStack()
        self.device = device.find(config.device)
        if self.device.index is not None:
            torch.cuda.set_device(self.device)  # Triton and NCCL use the current device
        if config.sync_batch_norm and self.device.type != "cuda":
            raise UserError("--sync-batch-norm needs GPUs: torch's SyncBatchNorm has no CPU version; leave it out")
        manifest = Manifest.open(config.shards)
        torch.manual_seed(config.seed)  # for the weights and for dropout
        device.make_repeatable(self.device)
        self.labels = manifest.labels_of(str(config.split))
        if len(self.labels) < 2:
            raise UserError(f"split {config.split} of {config.shards} has one label: a classifier needs at least two")
        features, frontend = inputs.build_features(config), inputs.build_frontend(config)
        self.n_rows = inputs.rows_of(features, frontend)
        plain = build(config.model, len(self.labels))
        self.notes = inputs.check_inputs(config, manifest, plain, features, self.n_rows)
        if config.sync_batch_norm:
            plain = nn.SyncBatchNorm.convert_sync_batchnorm(plain)
        self.train_loader = inputs.open_loader(config, features, self.device, mixup=config.mixup)
        self.valid_loader = self.evaluation("valid")
        self.normalization = Normalization(str(config.normalization), n_mels=self.n_rows)
        network = Classifier(plain, self.normalization, frontend=frontend)
        self.network = network.to(memory_format=torch.channels_last).to(self.device)  # type: ignore[call-overload]
        self.optimizer = optimizers.build(
            str(config.optimizer), network.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        self.schedule = schedules.build(
            str(config.schedule), self.optimizer, steps=self.steps, warmup_steps=config.warmup_steps
        )
        self.progress = RunProgress(self.device)
        self.parts: dict[str, checkpoints.Stateful] = {
            "network": self.network,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "loader": self.train_loader,
            "progress": self.progress,
            "random numbers": checkpoints.RandomNumbers(self.device),
        }

    @property
    def steps(self) -> int:
        """Largest number of training steps, from the settings `steps` and `epochs`."""
        bounds = (self.config.steps, self.config.epochs and self.config.epochs * len(self.train_loader))
        return min(bound for bound in bounds if bound)

    @property
    def finished(self) -> bool:
        """Whether training has ended, with the last epoch validated."""
        return not self.progress.trained and (self.progress.steps >= self.steps or self.schedule.finished)

    @property
    def n_parameters(self) -> int:
        """Number of the network's parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def evaluation(self, part: str) -> Epochs:
        """Return the loader that evaluates on the clips of `part`."""
        return self.train_loader.evaluation(part, chunks=self.config.chunks)  # type: ignore[arg-type]

    def write_config(self) -> None:
        """Write config.json into the run's folder, on rank 0."""
        if collectives.is_first():
            report.write_json(self.folder / stored.CONFIG, self.config.to_dict())

    def write_history(self) -> None:
        """Write metrics.jsonl, on rank 0."""
        if collectives.is_first():
            report.write_history(self.folder / "metrics.jsonl", self.progress.history)

    def save(self, name: str = checkpoints.LAST) -> None:
        """Write a checkpoint, on rank 0: all parts to last.pt, or only the network to best.pt."""
        if collectives.is_first():
            parts = self.parts if name == checkpoints.LAST else {"network": self.network}
            checkpoints.save(self.folder / name, parts, config=self.config.to_dict(), labels=self.labels)
        collectives.wait()

    def train(self) -> None:
        """Train until the schedule has finished or all steps are done. Raises Interrupted on Ctrl-C or SIGTERM."""
        progress, schedule = self.progress, self.schedule
        collectives.broadcast(self.network.state_dict().values())
        with Display(self.console) as display, Interrupt() as interrupt:
            display.print_headings()
            while not self.finished:
                if not progress.trained:
                    progress.trained = self.train_epoch(display, interrupt)
                if progress.trained:
                    self.check_training()
                valid = None if interrupt.requested else self.evaluate(self.valid_loader, display, interrupt)
                if valid is None:
                    self.save()
                    raise Interrupted(interrupt.requested)
                self.check_loss(valid["loss"])
                lr = schedule.lr
                schedule.end_epoch(valid["loss"])
                named = {f"valid_{name}": valid[name] for name in ("loss", "chunk_accuracy", "track_accuracy")}
                if progress.end_epoch(lr=lr, **named):
                    self.save(checkpoints.BEST)
                self.write_history()
                self.save()
                display.print_row(progress.history[-1])

    def check_training(self) -> None:
        """Raise UserError if the epoch had no example to train on, and Diverged if its loss is not finite."""
        measures = self.progress.measures()
        if math.isnan(measures["train_accuracy"]):  # 0 of 0
            raise UserError("there is nothing to train on: every example was skipped or is mostly padding")
        self.check_loss(measures["train_loss"])

    def check_loss(self, loss: float) -> None:
        """Raise Diverged if `loss` is not finite."""
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss of epoch {self.progress.epoch + 1} is not finite: try --lr below {self.config.lr}"
            )

    def train_epoch(self, display: Display, interrupt: Interrupt) -> bool:
        """Train for the remaining steps of this epoch. Returns whether all were done, or False after an interrupt."""
        progress, clock, begun = self.progress, DataClock(self.device), time.perf_counter()
        self.network.train()
        steps = min(len(self.train_loader), progress.batch + self.steps - progress.steps)
        display.begin(f"epoch {progress.epoch + 1}", steps, progress.batch)
        shown = begun
        for batch in clock.watch(collectives.begin_together(self.train_loader)):
            self.step(batch)
            display.advance()
            is_last = interrupt.check() or progress.batch == steps
            if is_last or time.perf_counter() - shown > 0.5:
                shown = time.perf_counter()
                collectives.settle()
                display.show_measures(progress.measures(shown - begun, clock.waiting))
            if is_last:
                break
        progress.add_time(time.perf_counter() - begun, clock.waiting)
        return progress.batch == steps

    def step(self, batch: Batch) -> None:
        """Do one training step."""
        collectives.seed_rank(self.config.seed, self.progress.steps)
        widest = self.config.spec_augment
        hidden = spec_augment_mask(batch, widest, self.n_rows) if widest else None
        with device.autocast(self.config.precision, self.device):
            output = self.network(batch.features, hidden)
        smoothing = self.config.label_smoothing
        self.optimizer.zero_grad(set_to_none=True)
        loss_of(output, batch.targets, batch.loss_weights, label_smoothing=smoothing).backward()
        with torch.no_grad():
            loss = loss_of(output, batch.targets, batch.weights, label_smoothing=smoothing)
            sums = sums_of(loss, logits_of(output), batch.labels, batch.weights)
        self.progress.step(collectives.average_gradients(self.network.parameters(), sums))
        self.optimizer.step()
        self.schedule.step()

    @torch.no_grad()
    def evaluate(self, loader: Epochs, display: Display, interrupt: Interrupt) -> dict[str, Any] | None:
        """Evaluate the network on the clips of `loader`. Returns None after an interrupt."""
        self.network.eval()
        collectives.broadcast(self.network.buffers())  # batch norm's, which each rank estimates from its own rows
        begun, collector = time.perf_counter(), metrics.Collector()
        display.begin("evaluation", len(loader))
        for batch in collectives.begin_together(loader):
            with device.autocast(self.config.precision, self.device):
                logits = self.network(batch.features)
            collector.add(logits, batch.labels, batch.weights, batch.keys)
            display.advance()
            if interrupt.check():
                return None
        self.progress.seconds += time.perf_counter() - begun
        return metrics.summary(collector.result(), self.labels)

    def close(self) -> None:
        """Close the loader and its evaluations, and unlock the folder. The run cannot train afterwards."""
        self.train_loader.close()
        self.lock.close()

    def finish(self) -> Path:
        """Test the best network, write model.pt2 and the report, and print the results. Returns the report's path."""
        if collectives.is_first():
            best = checkpoints.load(self.folder / checkpoints.BEST, "copy it back, or start a new run")
            checkpoints.restore(best, {"network": self.network}, str(self.folder / checkpoints.BEST))
        collectives.broadcast(self.network.state_dict().values())
        loader = self.evaluation("test")
        with Display(self.console) as display, Interrupt() as interrupt:
            test = self.evaluate(loader, display, interrupt)
        if test is None:
            raise Interrupted(interrupt.requested)
        own = {*self.train_loader.skipped, *self.valid_loader.skipped, *loader.skipped}
        skipped = sorted(set().union(*collectives.gather(own)))
        if collectives.is_first():
            return results.write(self, loader, test, skipped)
        return self.folder / report.REPORT
