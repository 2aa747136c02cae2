"""Train a classifier on sound that is streamed, augmented and turned into features on the fly.

python train.py --shards shards/
python train.py --shards shards/ --split folds --fold 2 --model vgg16 --augment strong
python train.py --resume runs/NAME
torchrun --nproc-per-node 2 train.py --shards shards/
"""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from gtzan_stream.console import escape_unprintable, importing, show_compilation

if __name__ == "__main__":  # before torch is imported: its idle threads sleep, or they would take cores from loaders
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
with importing() if __name__ == "__main__" else nullcontext():
    import models
    from gtzan_stream.errors import BadSample, UserError, format_error
    from gtzan_stream.training import collectives, device, launch, processes
    from gtzan_stream.training.cli_options import with_options
    from gtzan_stream.training.config import Config
    from gtzan_stream.training.defaults import complete
    from gtzan_stream.training.display import Display
    from gtzan_stream.training.interrupt import Interrupted
    from gtzan_stream.training.run import Run

console = Console()
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(context_settings={"help_option_names": ["-h", "--help"]})
@with_options
def command(*, resume: Path | None, **given: Any) -> None:
    """Train a classifier on sound streamed from shards."""
    settings = {name: value for name, value in given.items() if value is not None}
    try:
        processes.connect()
        console.quiet = not collectives.is_first()
        if collectives.is_first():
            show_compilation()
        run = launch.resume(resume, settings, build=build, console=console) if resume else start(Config(**settings))
        try:
            report = train(run)
        finally:
            run.close()
        processes.disconnect()
    except BadSample as error:
        remedy = "--on-error skip trains without it, and `gtzan-stream verify` names every clip that cannot be read"
        processes.end(2, f"error: {format_error(error)}; {remedy}")
    except (UserError, OSError) as error:
        processes.end(2, f"error: {format_error(error)}", error=error)
    except KeyboardInterrupt:
        processes.end(130, "Interrupted before training began; nothing was saved: run the command again")
    print_line(f"Report: {report}")


def start(config: Config) -> Run:
    """Start a run, with the network's defaults for settings that were not given."""
    network = spec(config.model)
    with Display(console) as display:
        display.begin(f"opening {config.source}")
        config = complete(config, network)
    return launch.start(config, build=build, console=console)


def train(run: Run) -> Path:
    """Print what will be trained, train and test it, and return the path of the report."""
    config = run.config
    try:
        print_line(
            f"{config.model}, {run.n_parameters:,} parameters, on {describe(run)} in {config.precision}; "
            f"split {config.split}, {len(run.train_loader)} steps of {config.batch_size} an epoch, "
            f"{run.steps} at most; augmentation {config.augment}. Files go to {run.folder}"
        )
        for note in run.notes:
            print_line(note)
        run.train()
        return run.finish()
    except (Interrupted, KeyboardInterrupt) as stop:  # KeyboardInterrupt: a second Ctrl-C, or one while writing
        print_line(f"Interrupted; continue with: python train.py --resume {run.folder}")
        run.close()
        if isinstance(stop, Interrupted):  # all processes are here
            processes.end_together(stop.code)
        processes.end(130)


def describe(run: Run) -> str:
    """Describe the processes and the device of a run."""
    name, n_ranks = device.describe(run.device), run.train_loader.world_size
    return name if n_ranks == 1 else f"{n_ranks} processes with {name}"


def build(name: str, n_classes: int) -> Any:
    """Build a network of `models.REGISTRY`."""
    spec(name)
    return models.build(name, n_classes)


def spec(name: str) -> models.Spec:
    """Return a network's entry in `models.REGISTRY`. Raises UserError if there is none."""
    try:
        return models.spec(name)
    except ValueError as error:
        raise UserError(str(error)) from None


def print_line(text: str) -> None:
    """Print a line without wrapping it."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


if __name__ == "__main__":
    escape_unprintable()
    app()
