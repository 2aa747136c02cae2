"""What a training run consists of, from its settings, and how it is kept in files."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.evaluation import Evaluation
from gtzan_stream.normalization import Normalization
from gtzan_stream.training import (
    board,
    checkpoints,
    clips,
    collectives,
    device,
    inputs,
    optimizers,
    report,
    schedules,
    stored,
)
from gtzan_stream.training.config import Config
from gtzan_stream.training.network import Classifier
from gtzan_stream.training.progress import RunProgress
from gtzan_stream.training.recorder import Recorder

Build = Callable[[str, int], nn.Module]
"""(name, number of classes) -> network, from features [batch, row, frame] to logits [batch, class]."""


class RunParts:
    """The parts of a run: its data, network, optimizer, schedule and progress, and the files that keep them.

    With several processes, each holds all parts; rank 0 writes the files.

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
        if config.tensorboard:
            board.check_installed()
        self.device = device.find(config.device)
        if self.device.index is not None:
            torch.cuda.set_device(self.device)  # Triton and NCCL use the current device
        if config.sync_batch_norm and self.device.type != "cuda":
            raise UserError("--sync-batch-norm needs GPUs: torch's SyncBatchNorm has no CPU version; leave it out")
        manifest = clips.open_manifest(config)
        torch.manual_seed(config.seed)  # for the weights and for dropout
        device.make_repeatable(self.device)
        self.labels = manifest.labels_of(str(config.split))
        if len(self.labels) < 2:
            raise UserError(f"split {config.split} of {config.source} has one label: a classifier needs at least two")
        features, frontend = inputs.build_features(config), inputs.build_frontend(config)
        self.n_rows = inputs.rows_of(features, frontend)
        plain = build(config.model, len(self.labels))
        self.notes = inputs.check_inputs(config, manifest, plain, features, self.n_rows)
        self.notes += clips.notes_on_source(config)
        if config.sync_batch_norm:
            plain = nn.SyncBatchNorm.convert_sync_batchnorm(plain)
        self.train_loader = clips.open_loader(config, features, self.device, mixup=config.mixup)
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
        self.recorder: Recorder | None = None
        self.board: board.Board | None = None
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
        """Whether training has ended, with the network validated."""
        return self.progress.validated and (self.progress.steps >= self.steps or self.schedule.finished)

    @property
    def n_parameters(self) -> int:
        """Number of the network's parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def evaluation(self, part: str) -> Evaluation:
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

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what happens in the block in steps.jsonl and, if wanted, for TensorBoard; on rank 0."""
        if not collectives.is_first():
            yield
            return
        with ExitStack() as files:
            self.recorder = files.enter_context(Recorder(self.folder, self.progress.steps))
            if self.config.tensorboard:
                self.board = files.enter_context(board.Board(self.folder, self.progress.steps))
            yield
        self.recorder = self.board = None

    def load_best(self) -> None:
        """Load the network of the best epoch."""
        path = self.folder / checkpoints.BEST
        if collectives.is_first():
            best = checkpoints.load(path, "copy it back, or start a new run")
            checkpoints.restore(best, {"network": self.network}, str(path))
        collectives.broadcast(self.network.state_dict().values())

    def close(self) -> None:
        """Close the loader and its evaluations, and unlock the folder. The run cannot train afterwards."""
        self.train_loader.close()
        self.lock.close()
