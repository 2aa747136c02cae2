"""Start a run in a new folder, or resume one where it stopped."""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from gtzan_stream import folders
from gtzan_stream.errors import Unwritable, UserError
from gtzan_stream.settings import flag
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.verify import verify
from gtzan_stream.training import checkpoints, device
from gtzan_stream.training.config import Config
from gtzan_stream.training.run import Build, Run

CHANGEABLE = {"shards", "device", "num_workers", "epochs", "on_error", "check"}  # in a run that is resumed
STATISTICS_CROPS = 512  # that mean and standard deviation of the features are estimated from


def start(config: Config, *, build: Build, console: Console | None = None) -> Run:
    """Make a new run in a new folder, with the features' statistics estimated from training batches.

    Parameters
    ----------
    config : Config
        Complete: see `defaults.complete`.
    build : callable (name, n_classes) -> Module
    console : Console, optional

    Raises
    ------
    UserError
        If the folder holds a run already, another process uses it, or a setting does not fit the data.
    """
    folder = Path(config.out, str(config.name))
    if config.check:
        check(config.shards)
    with folders.created(folder, folder / checkpoints.LAST), _locked(folder) as lock:
        if (folder / checkpoints.LAST).exists():
            raise UserError(f"{folder} holds a run: continue it with --resume {folder}, or choose another --name")
        run = Run(config, folder, build=build, console=console)
        begin = run.train_loader.state_dict()
        batches = islice(run.train_loader, -(-STATISTICS_CROPS // run.train_loader.batch_size))
        frontend = run.network.frontend
        run.normalization.estimate((frontend(batch.features), batch.weights) for batch in batches)
        run.train_loader.load_state_dict(begin)
        run.save()  # first: without it there is no run, and its folder is removed
        run.write_config()
        run.lock = lock.pop_all()
    return run


def resume(path: Path, changes: dict[str, Any], *, build: Build, console: Console | None = None) -> Run:
    """Make the run of a folder or checkpoint again, where it stopped; only some settings may change.

    Raises
    ------
    UserError
        If there is no checkpoint, another process uses the folder, it cannot be written, another setting would change,
        or the data has changed.
    """
    path = checkpoints.find(path)
    with _locked(path.parent) as lock:
        run = _resumed(path, changes, build=build, console=console)
        run.lock = lock.pop_all()
    return run


def _resumed(path: Path, changes: dict[str, Any], *, build: Build, console: Console | None) -> Run:
    state = checkpoints.load(path)
    try:
        config = Config.from_dict(state.get("config"))
    except UserError as error:
        raise UserError(f"{path} holds other settings than those of this train.py: {error}; start a new run") from None
    changeable = CHANGEABLE - ({"epochs"} if config.schedule == "cosine" else set())
    wrong = [flag(name) for name in changes if name not in changeable and changes[name] != getattr(config, name)]
    if wrong:
        allowed = ", ".join(sorted(map(flag, changeable)))
        raise UserError(f"{', '.join(wrong)} cannot change in a run that is resumed, only {allowed}: start a new run")
    config = dataclasses.replace(config, **changes)
    device.precision(config.precision, device.find(config.device))  # another machine may not have it
    if config.check:
        check(config.shards)
    run = Run(config, path.parent, build=build, console=console)
    checkpoints.restore(state, run.parts, f"{path}, of {config.model},")
    try:
        run.write_config()
    except Unwritable as error:  # its folder is given
        words = str(error).replace("or choose another folder", "or copy the run elsewhere")
        words = words.replace("choose another folder", "make it writable, or copy the run elsewhere")
        raise Unwritable(words) from error
    return run


@contextmanager
def _locked(folder: Path) -> Iterator[ExitStack]:
    """Lock a run's folder until the block ends, or longer: whoever takes the lock out of the stack must close it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(folders.locked(folder))
        except BlockingIOError:
            raise UserError(
                f"another train.py is using {folder}: wait for it to end, or choose another --name"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield stack


def check(shards: str) -> None:
    """Raise UserError if the shards are not what was packed."""
    if problems := verify(Manifest.open(shards)):
        raise UserError(
            f"{len(problems)} of the things in {shards} are not as packed, the first: {problems[0]}. "
            f"gtzan-stream verify {shards} names them all; copy or pack them again"
        )
