"""Run a training: epochs of training and validation, then a test and a report.

The network comes from a function that the caller passes in, so this package does not depend on `models`.
"""

import math
import time
from pathlib import Path
from typing import Any

import torch

from gtzan_stream.batch import Batch
from gtzan_stream.epochs import Epochs
from gtzan_stream.errors import UserError
from gtzan_stream.inference.export import logits_of
from gtzan_stream.spec_augment import spec_augment_mask
from gtzan_stream.training import checkpoints, collectives, device, metrics, report, results
from gtzan_stream.training.clock import DataClock
from gtzan_stream.training.display import Display
from gtzan_stream.training.interrupt import Interrupt, Interrupted
from gtzan_stream.training.losses import loss_of
from gtzan_stream.training.progress import sums_of
from gtzan_stream.training.run_parts import RunParts


class Diverged(UserError):
    """The loss of an epoch is not finite."""


class Run(RunParts):
    """A training run: epochs of training and validation, then a test and a report.

    With several processes, each holds a run and does the same steps on its own rows.
    """

    def train(self) -> None:
        """Train until the schedule has finished or all steps are done. Raises Interrupted on Ctrl-C or SIGTERM."""
        progress, schedule = self.progress, self.schedule
        collectives.broadcast(self.network.state_dict().values())
        with Display(self.console) as display, Interrupt() as interrupt, self.recording():
            display.print_headings()
            if self.board:
                self.board.add_settings(self.config.to_dict(), progress.steps + 1)
            while not self.finished:
                if not self.is_next_validation():
                    self.train_epoch(display, interrupt)
                if self.is_next_validation():
                    self.check_training()
                valid = None if interrupt.requested else self.evaluate(self.valid_loader, display, interrupt)
                if valid is None:
                    self.save()
                    raise Interrupted(interrupt.requested)
                self.check_loss(valid["loss"])
                lr = schedule.lr
                named = {f"valid_{name}": valid[name] for name in ("loss", "chunk_accuracy", "track_accuracy")}
                is_best = progress.add_row(lr=lr, **named)
                if progress.batch == len(self.train_loader):  # --steps may end the run before, and grow later
                    schedule.end_epoch(valid["loss"])
                    progress.end_epoch()
                if is_best:
                    self.save(checkpoints.BEST)
                self.write_history()
                self.save()
                display.print_row(progress.history[-1])
                if self.board:
                    self.board.add_epoch(progress.history[-1])

    def is_next_validation(self) -> bool:
        """Return whether all steps before the next validation are done."""
        return self.progress.batch == len(self.train_loader) or self.progress.steps >= self.steps

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

    def train_epoch(self, display: Display, interrupt: Interrupt) -> None:
        """Train for the remaining steps of this epoch, or until an interrupt."""
        progress, clock, begun = self.progress, DataClock(self.device), time.perf_counter()
        self.network.train()
        steps = min(len(self.train_loader), progress.batch + self.steps - progress.steps)
        display.begin(f"epoch {progress.epoch + 1}", steps, progress.batch)
        shown, batches = begun, clock.watch(collectives.begin_together(self.train_loader))
        for batch in batches:
            self.step(batch)
            if self.board and progress.batch == 1:
                loader = self.train_loader if self.config.shards is not None else None  # waveforms are read from shards
                self.board.add_batch(batch, loader, self.network.frontend, progress.steps)
            display.advance()
            is_last = interrupt.check() or progress.batch == steps
            if is_last or time.perf_counter() - shown > 0.5:
                shown = time.perf_counter()
                collectives.settle()
                display.show_measures(progress.measures(shown - begun, clock.waiting))
                self.record_steps(clock)
            if is_last:
                break
        batches.close()  # takes the time of the last step
        progress.add_time(time.perf_counter() - begun, clock.waiting)
        self.record_steps(clock)
        if self.recorder:
            self.recorder.sync()

    def record_steps(self, clock: DataClock) -> None:
        """Record the steps whose times are known."""
        rows = self.recorder.write(clock.take_times()) if self.recorder else []
        if self.board:
            for row in rows:
                self.board.add_step(row)
            self.board.flush()

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
        sums = collectives.average_gradients(self.network.parameters(), sums)
        self.progress.step(sums)
        if self.recorder:
            progress = self.progress
            self.recorder.add(sums, step=progress.steps, epoch=progress.epoch + 1, lr=self.schedule.lr)
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
            collector.add(logits, batch.labels, batch.weights, batch.keys, batch.crops)
            display.advance()
            if interrupt.check():
                return None
        self.progress.seconds += time.perf_counter() - begun
        return metrics.summary(collector.result(), self.labels)

    def finish(self) -> Path:
        """Test the best network, write model.pt2 and the report, and print the results. Returns the report's path."""
        self.load_best()
        loader = self.evaluation("test")
        with Display(self.console) as display, Interrupt() as interrupt, self.recording():
            test = self.evaluate(loader, display, interrupt)
            if test is None:
                raise Interrupted(interrupt.requested)
            if self.board:  # one step later, so that a resumed run shows only its own test
                self.board.add_test(test, self.progress.steps + 1)
        own = {*self.train_loader.skipped, *self.valid_loader.skipped, *loader.skipped}
        skipped = sorted(set().union(*collectives.gather(own)))
        if collectives.is_first():
            return results.write(self, loader, test, skipped)
        return self.folder / report.REPORT
