"""Start a run in a new folder, or resume a stopped one."""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from gtzan_stream import folders
from gtzan_stream.distributed import local_rank_and_size
from gtzan_stream.errors import UserError, WriteError
from gtzan_stream.feature_settings import option_name
from gtzan_stream.store.verify import verify
from gtzan_stream.training import checkpoints, clips, collectives, device
from gtzan_stream.training.config import NOT_SERVED, Config
from gtzan_stream.training.defaults import complete_shards
from gtzan_stream.training.display import Display
from gtzan_stream.training.run import Run
from gtzan_stream.training.run_parts import Build
from gtzan_stream.words import count

CHANGEABLE = {"shards", "device", "num_workers", "epochs", "steps", "on_error", "check", "tensorboard"}
CHANGEABLE |= {"served", "served_keys", "served_strict"}
"""Settings that may differ in a resumed run."""
LENGTH = {"epochs", "steps"}
"""Those that only may without a cosine, which is laid out over all steps."""
STATISTICS_CROPS = 512
"""Number of crops from which the mean and standard deviation of the features are estimated."""


def start(config: Config, *, build: Build, console: Console | None = None) -> Run:
    """Create a run in a new folder, and estimate the features' statistics from its first training batches.

    Parameters
    ----------
    config : Config
        With all settings filled in by `defaults.complete`.
    build : callable (name, n_classes) -> Module
    console : Console, optional

    Raises
    ------
    UserError
        If the folder already holds a run, another process uses it, or a setting does not fit the data.
    """
    config = collectives.of_first(config)  # the name has the time in it, and the precision depends on the machine
    folder, is_first = Path(config.out, str(config.name)), collectives.is_first()
    with (
        Display(console or Console()) as display,
        folders.created(folder, folder / checkpoints.LAST) if is_first else nullcontext(),
        _locked(folder) as lock,
    ):
        check(config, display)
        if is_first and (folder / checkpoints.LAST).exists():
            raise UserError(f"{folder} holds a run: continue it with --resume {folder}, or choose another --name")
        display.begin(f"opening {config.source}")
        run = Run(config, folder, build=build, console=console)
        estimate_statistics(run, display)
        display.begin(f"writing {folder / checkpoints.LAST}")
        run.save()  # before config.json: if this fails, the new folder is empty and is removed
        run.write_config()
        run.lock = lock.pop_all()
    return run


def resume(path: Path, changes: dict[str, Any], *, build: Build, console: Console | None = None) -> Run:
    """Restore a run, from its folder or a checkpoint, at the step where it stopped.

    Only settings in `CHANGEABLE` may change, and with a cosine schedule not those in `LENGTH`.

    Raises
    ------
    UserError
        If there is no checkpoint, another process uses the folder, it cannot be written, `changes` has another
        setting, or the data has changed.
    """
    path = collectives.of_first(checkpoints.find(path) if collectives.is_first() else path)
    with _locked(path.parent) as lock, Display(console or Console()) as display:
        run = _resumed(path, changes, display, build=build, console=console)
        run.lock = lock.pop_all()
    return run


def _resumed(path: Path, changes: dict[str, Any], display: Display, *, build: Build, console: Console | None) -> Run:
    display.begin(f"reading {path}")
    state = collectives.of_first(checkpoints.load(path) if collectives.is_first() else {})
    try:
        config = Config.from_dict(state.get("config"))
    except UserError as error:
        raise UserError(f"{path} holds settings that this train.py does not accept: {error}; start a new run") from None
    # A cosine is laid out over all steps of the run, so another length would change the steps already done.
    changeable = CHANGEABLE - (LENGTH if config.schedule == "cosine" else set())
    wrong = [option_name(name) for name in changes if name not in changeable and changes[name] != getattr(config, name)]
    if wrong:
        allowed = ", ".join(sorted(map(option_name, changeable)))
        raise UserError(f"{', '.join(wrong)} cannot change in a resumed run, only {allowed} can: start a new run")
    config = _changed(config, changes)
    device.precision(config.precision, device.find(config.device))  # raises if this machine lacks it
    check(config, display)
    display.begin(f"opening {config.source}")
    run = Run(config, path.parent, build=build, console=console)
    checkpoints.restore(state, run.parts, f"{path}, of {config.model},")
    check_length(run)
    try:
        run.write_config()
    except WriteError as error:  # a resumed run stays in its folder, so give another remedy
        words = str(error).replace("or choose another folder", "or copy the run elsewhere")
        words = words.replace("choose another folder", "make it writable, or copy the run elsewhere")
        raise WriteError(words) from error
    return run


def _changed(config: Config, changes: dict[str, Any]) -> Config:
    """Return the settings of a resumed run. Servers that are named now have the shards, unless these are named, too."""
    if changes.get("served") == NOT_SERVED:
        changes = {"served_keys": None, "served_strict": False, **changes}
    elif "served" in changes:
        changes = {"shards": None, **changes}
    return complete_shards(dataclasses.replace(config, **changes))


def check_length(run: Run) -> None:
    """Raise UserError if a resumed run should be shorter than what it has done."""
    done, bound = run.progress.steps, run.config.steps
    if bound and bound < done:
        raise UserError(
            f"--steps {bound} is less than the {count(done, 'step')} that this run has done: give {done} or more"
        )
    epochs = -(-done // len(run.train_loader))
    if run.config.epochs and run.config.epochs < epochs:
        raise UserError(
            f"--epochs {run.config.epochs} is less than the {count(epochs, 'epoch')} that this run has begun: give "
            f"{epochs} or more"
        )


def estimate_statistics(run: Run, display: Display) -> None:
    """Estimate the features' mean and deviation from the first crops, not mixed: the same for any number of ranks."""
    if not run.normalization.needs_estimate:
        return
    features, frontend = run.train_loader.features, run.network.frontend
    with clips.open_loader(run.config, features, run.device, rank=0, world_size=1) as loader:
        n_batches = min(len(loader), -(-STATISTICS_CROPS // loader.batch_size))
        display.begin("estimating the mean of the features", n_batches)

        def shown() -> Iterator[tuple[Tensor, Tensor]]:
            for batch in islice(loader, n_batches):
                yield frontend(batch.features), batch.weights
                display.advance()

        run.normalization.estimate(shown())


@contextmanager
def _locked(folder: Path) -> Iterator[ExitStack]:
    """Lock a run's folder, on rank 0, until the block ends. A caller that pops the lock must close it later."""
    with ExitStack() as stack:
        try:
            if collectives.is_first():
                stack.enter_context(folders.locked(folder))
        except BlockingIOError:
            raise UserError(
                f"another train.py is using {folder}: wait for it to end, or choose another --name"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield stack


def check(config: Config, display: Display) -> None:
    """Raise UserError if the shards should be verified and differ from their manifest: one process a machine reads."""
    if config.check and local_rank_and_size()[0] == 0:
        display.begin("checking the shards (MB)")
        manifest = clips.open_manifest(config)
        problems = verify(manifest, progress=lambda done, total: display.show(done // 10**6, total // 10**6))
        if problems:
            raise UserError(
                f"{config.shards} is not as it was packed, {count(len(problems), 'problem')}: {problems[0]}; "
                f"gtzan-stream verify {config.shards} lists them all: copy or pack the shards again"
            )
    collectives.wait()
