"""Train a network to tell genres, on music that is streamed, augmented and turned into features as it trains.

python train.py --shards shards/
python train.py --shards shards/ --split folds --fold 2 --model vgg16 --augment strong
python train.py --resume runs/NAME
"""

import dataclasses
import math
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console
from rich.markdown import Markdown
from torch import nn

import models
from gtzan_stream.batches import Batch
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.features import Frames, LogMel, RawWaveform
from gtzan_stream.loader import Loader
from gtzan_stream.normalization import Normalization
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.verify import verify
from gtzan_stream.training import checkpoints, device, export, metrics, optimizers, report, schedules
from gtzan_stream.training.clock import DataClock
from gtzan_stream.training.config import Config, flag
from gtzan_stream.training.display import Display
from gtzan_stream.training.interrupt import Interrupt
from gtzan_stream.training.losses import logits_of, loss_of
from gtzan_stream.training.mixup import mixup
from gtzan_stream.training.network import Classifier, LearntLogMel
from gtzan_stream.training.options import with_options
from gtzan_stream.training.progress import Progress

CATALOGUE = ("filtered", "stratified", "study")  # splits that a pack makes itself; the default is one of your own
DEMO = {"epochs": 5, "optimizer": "adamw", "schedule": "cosine"}  # learns the synthesised set in minutes
DEMO_LR = {"adam": 1e-3, "adamw": 1e-3}
STUDY = {"epochs": 100, "optimizer": "sgd", "schedule": "plateau"}  # it stopped by itself, after 26 epochs
CHANGEABLE = {"shards", "device", "workers", "epochs", "on_error", "check"}  # in a run that is resumed
STATISTICS_CROPS = 512  # that mean and standard deviation of the features are estimated from
console = Console()
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Diverged(UserError):
    """The loss of an epoch is no number."""


class Interrupted(Exception):
    """Somebody pressed Ctrl-C; the checkpoint is written."""


def complete(config: Config) -> Config:
    """Fill in what was left to the data, the network and the machine."""
    spec = network_spec(config.model)
    manifest = Manifest.open(config.shards)
    splits = list(manifest.split_names())
    own = [name for name in splits if name not in CATALOGUE and not name.startswith("folds-")]
    split = config.split or (own[0] if len(own) == 1 else next(name for name in CATALOGUE if name in splits))
    if config.fold is not None or split == "folds":
        if config.fold is None:
            raise UserError("--split folds needs --fold K, from 0")
        split = f"folds-{config.fold}"
    place = device.find(config.device)
    usual: dict[str, Any] = DEMO if manifest.dataset == "demo" else STUDY
    optimizer = config.optimizer or usual["optimizer"]
    lrs = {**(DEMO_LR if manifest.dataset == "demo" else {}), **spec.lr}
    if spec.input.kind == "waveform" and (config.spec_augment or config.trainable_frontend):
        option = flag("spec_augment" if config.spec_augment else "trainable_frontend")
        raise UserError(f"{option} needs a network that is fed spectrograms: {config.model} is fed the waveform")
    augment = config.augment.replace(":", "-")
    name = f"{config.model}-{augment}-{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    return dataclasses.replace(
        config,
        split=split,
        fold=None,
        device=str(place),
        precision=device.precision(config.precision, place),
        normalization=config.normalization or spec.normalization,
        optimizer=optimizer,
        schedule=config.schedule or usual["schedule"],
        lr=config.lr or lrs.get(optimizer) or optimizers.default_lr(optimizer),
        epochs=config.epochs or (None if config.steps else usual["epochs"]),
        batch_size=config.batch_size or spec.batch_size,
        name=config.name or name,
    )


class Run:
    """A training run: everything it is made of, in the order it is made.

    Parameters
    ----------
    config : Config
        Complete: see `complete`.
    folder : Path
        Where the run's files go.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.device = device.find(config.device)
        self.spec = network_spec(config.model)
        torch.manual_seed(config.seed)  # of the weights and of dropout
        torch.backends.cudnn.deterministic = True  # so that a resumed run equals an unbroken one on a GPU, too
        self.train_loader = self.loader("train")
        self.valid_loader = self.loader("valid", eval=config.eval)
        self.labels = self.train_loader.labels
        if len(self.labels) < 2:
            raise UserError(f"split {config.split} of {config.shards} has one label: a classifier needs two at least")
        self.normalization = Normalization(str(config.normalization), n_mels=self.spec.input.shape[0])
        network = Classifier(
            models.build(config.model, len(self.labels)),
            self.normalization,
            frontend=LearntLogMel(LogMel(trainable=True)) if config.trainable_frontend else None,
            widest_mask=config.spec_augment,
        )
        self.network = network.to(memory_format=torch.channels_last).to(self.device)  # type: ignore[call-overload]
        self.optimizer = optimizers.build(
            str(config.optimizer), network.parameters(), lr=config.lr, weight_decay=config.weight_decay
        )
        self.schedule = schedules.build(
            str(config.schedule), self.optimizer, steps=self.steps, warmup_steps=config.warmup_steps
        )
        self.progress = Progress(self.device)
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
        """How many steps there are at most, in as many epochs as they take."""
        bounds = (self.config.steps, self.config.epochs and self.config.epochs * len(self.train_loader))
        return min(bound for bound in bounds if bound)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train, and to validate."""
        return not self.progress.trained and (self.progress.steps >= self.steps or self.schedule.finished)

    def features(self) -> nn.Module:
        """What the loader makes of the waveform."""
        size = self.spec.input.size
        if self.spec.input.kind == "waveform":
            return RawWaveform(samples=size)
        return Frames(frames=size) if self.config.trainable_frontend else LogMel(frames=size)

    def loader(self, part: str, eval: Any = None) -> Loader:
        config = self.config
        return Loader(
            config.shards,
            split=config.split,
            part=part,
            batch_size=config.batch_size or self.spec.batch_size,
            augment=config.augment,
            features=self.features(),
            device=self.device,
            workers=config.workers,
            seed=config.seed,
            crops_per_clip=config.crops_per_clip,
            on_error=config.on_error,
            eval=eval,
            shuffle_window=config.shuffle_window,
        )

    def write_config(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        report.write_json(self.folder / "config.json", self.config.to_dict())

    def save(self, name: str = checkpoints.LAST) -> None:
        parts = self.parts if name == checkpoints.LAST else {"network": self.network}
        checkpoints.save(self.folder / name, parts, config=self.config.to_dict(), labels=self.labels)

    def train(self) -> None:
        """Train until the schedule has finished or all steps are made. Raises Interrupted on Ctrl-C."""
        progress, schedule = self.progress, self.schedule
        with Display(console) as display, Interrupt() as interrupt:
            display.headings()
            while not self.finished:
                if not progress.trained:
                    progress.trained = self.train_epoch(display, interrupt)
                if progress.trained:
                    self.check_training()
                valid = None if interrupt.requested else self.evaluate(self.valid_loader, display, interrupt)
                if valid is None:
                    self.save()
                    raise Interrupted
                self.check_loss(valid["loss"])
                lr = schedule.lr
                schedule.epoch(valid["loss"])
                named = {f"valid_{name}": valid[name] for name in ("loss", "chunk_accuracy", "track_accuracy")}
                if progress.end_epoch(lr=lr, **named):
                    self.save(checkpoints.BEST)
                report.write_history(self.folder / "metrics.jsonl", progress.history)
                self.save()
                display.row(progress.history[-1])

    def check_training(self) -> None:
        """Refuse an epoch that was trained on nothing, or away from everything."""
        measures = self.progress.measures()
        if math.isnan(measures["train_accuracy"]):  # 0 of 0
            raise UserError("nothing can be trained on: every clip is too short for the network, or was skipped")
        self.check_loss(measures["train_loss"])

    def check_loss(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise Diverged(f"the loss of epoch {self.progress.epoch + 1} is no number: try --lr below {self.config.lr}")

    def train_epoch(self, display: Display, interrupt: Interrupt) -> bool:
        """Make the steps that are left of this epoch, and of the run. Returns whether they were all made."""
        progress, clock, begun = self.progress, DataClock(self.device), time.perf_counter()
        self.network.train()
        self.train_loader.set_epoch(progress.epoch)
        steps = min(len(self.train_loader), progress.batch + self.steps - progress.steps)
        display.begin(f"epoch {progress.epoch + 1}", steps, progress.batch)
        shown = begun
        for batch in clock.watch(self.train_loader):
            self.step(batch)
            display.advance()
            if time.perf_counter() - shown > 0.5:
                shown = time.perf_counter()
                display.measure(progress.measures(shown - begun, clock.waiting))
            if interrupt.requested or progress.batch == steps:
                break
        progress.took(time.perf_counter() - begun, clock.waiting)
        return progress.batch == steps

    def step(self, batch: Batch) -> None:
        """One step of training."""
        features, labels, weights = batch.features, batch.labels, batch.weights
        if self.config.mixup:
            features, labels = mixup(features, labels, weights, n_classes=len(self.labels), alpha=self.config.mixup)
        with device.autocast(self.config.precision, self.device):
            output = self.network(features)
        loss = loss_of(output, labels, weights, label_smoothing=self.config.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.progress.step(loss, logits_of(output), batch.labels, batch.weights)

    @torch.no_grad()
    def evaluate(self, loader: Loader, display: Display, interrupt: Interrupt) -> dict[str, Any] | None:
        """Measure the network on the clips of `loader`. None if somebody pressed Ctrl-C."""
        self.network.eval()
        begun, collector = time.perf_counter(), metrics.Collector()
        display.begin("evaluation", len(loader))
        for batch in loader:
            with device.autocast(self.config.precision, self.device):
                logits = self.network(batch.features)
            collector.add(logits, batch.labels, batch.weights, batch.keys)
            display.advance()
            if interrupt.requested:
                return None
        self.progress.seconds += time.perf_counter() - begun
        return metrics.summary(collector.result(), self.labels)

    def finish(self) -> Path:
        """Test the best network, write the report and show its results. Returns where it is."""
        progress, config = self.progress, self.config
        best = checkpoints.load(self.folder / checkpoints.BEST)
        checkpoints.restore(best, {"network": self.network}, str(self.folder / checkpoints.BEST))
        loader = self.loader("test", eval=config.eval)
        with Display(console) as display, Interrupt() as interrupt:
            test = self.evaluate(loader, display, interrupt)
        if test is None:
            raise Interrupted
        settings = config.to_dict()
        export.write(self.folder / export.MODEL, self.network, loader.features, labels=self.labels, config=settings)
        content = {
            "run": self.folder.name,
            "config": settings,
            "data": {"labels": self.labels, **describe(loader, config)},
            "model": {"name": config.model, "parameters": sum(p.numel() for p in self.network.parameters())},
            "machine": {"device": device.describe(self.device), "torch": torch.__version__},
            "training": {
                **progress.summary(),
                "stopped": "the learning rate had run out" if self.schedule.finished else "all steps were made",
            },
            "valid": progress.best,
            "test": test,
            "skipped": sorted({*self.train_loader.skipped, *self.valid_loader.skipped, *loader.skipped}),
        }
        console.print(Markdown(report.results(content)))
        return report.write(self.folder, content, progress.history)


def start(config: Config) -> Run:
    """A new run, in a new folder, with the features' statistics estimated from the stream of training."""
    config = complete(config)
    folder = Path(config.out, str(config.name))
    if config.check:
        check(config.shards)
    if (folder / checkpoints.LAST).exists():
        raise UserError(f"{folder} holds a run: continue it with --resume {folder}, or choose another --name")
    run = Run(config, folder)
    batches = islice(run.loader("train"), -(-STATISTICS_CROPS // run.train_loader.batch_size))
    frontend = run.network.frontend
    run.normalization.estimate((frontend(batch.features), batch.weights) for batch in batches)
    run.write_config()
    run.save()
    return run


def resume(place: Path, changes: dict[str, Any]) -> Run:
    """The run whose folder or checkpoint is at `place`, where it stopped; only some settings may change."""
    path = checkpoints.find(place)
    state = checkpoints.load(path)
    config = Config.from_dict(state["config"])
    changeable = CHANGEABLE - ({"epochs"} if config.schedule == "cosine" else set())
    wrong = [flag(name) for name in changes if name not in changeable and changes[name] != getattr(config, name)]
    if wrong:
        allowed = ", ".join(sorted(map(flag, changeable)))
        raise UserError(f"{', '.join(wrong)} cannot change in a run that is resumed, only {allowed}: start a new run")
    config = dataclasses.replace(config, **changes)
    device.precision(config.precision, device.find(config.device))  # which the other machine's may lack
    if config.check:
        check(config.shards)
    run = Run(config, path.parent)
    checkpoints.restore(state, run.parts, f"{path}, of {config.model},")
    run.write_config()
    return run


def check(shards: str) -> None:
    """Refuse shards that are not what was packed."""
    if problems := verify(Manifest.open(shards)):
        raise UserError(
            f"{len(problems)} of the things in {shards} are not as packed, the first: {problems[0]}. "
            f"gtzan-stream verify {shards} names them all; copy or pack them again"
        )


def network_spec(name: str) -> models.Spec:
    try:
        return models.spec(name)
    except ValueError as error:
        raise UserError(str(error)) from None


def describe(loader: Loader, config: Config) -> dict[str, Any]:
    """What was trained and tested on, and how many clips are shorter than what the network wants."""
    manifest, split = loader.manifest, str(config.split)
    clips = {part: manifest.part(split, part) for part in ("train", "valid", "test")}
    short = [int((manifest.frames[part] < loader.features.samples).sum()) for part in clips.values()]
    counts = {name: len(part) for name, part in clips.items()}
    facts = {"dataset": manifest.dataset, "digest": manifest.digest, "split": split}
    return {**facts, "clips": counts, "padded": sum(short)}


def main(resume_from: Path | None, given: dict[str, Any]) -> None:
    """Train, test and report, or say in a sentence what is wrong."""
    try:
        run = resume(resume_from, given) if resume_from else start(Config(**given))
        size = sum(parameter.numel() for parameter in run.network.parameters())
        settings = run.config
        console.print(
            f"{settings.model}, {size:,} parameters, on {device.describe(run.device)} in {settings.precision}; "
            f"split {settings.split}, {len(run.train_loader)} steps of {settings.batch_size} an epoch, "
            f"{run.steps} at most; augmentation {settings.augment}. Files go to {run.folder}",
            highlight=False,
            soft_wrap=True,
        )
        run.train()
        path = run.finish()
    except Interrupted:
        console.print(
            f"Interrupted; continue with: python train.py --resume {run.folder}", highlight=False, soft_wrap=True
        )
        raise typer.Exit(130) from None
    except (UserError, BadSample) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    console.print(f"Report: {path}", highlight=False, soft_wrap=True)


@app.command()
@with_options
def command(*, resume: Path | None, **given: Any) -> None:
    """Train a network to tell genres, on music streamed from shards."""
    main(resume, {name: value for name, value in given.items() if value is not None})


if __name__ == "__main__":
    app()
