"""Kill a training at random moments, resume it each time, and compare its end with a run that was never killed.

python tests/kills.py FOLDER --kills 100

Trains on the demo set. A training that ends in spite of the kills is compared with the unbroken one, to the bit, and
the next one begins, until the kills are used up. Prints what was done as JSON; the exit status is 1 if a run differs.

Every training is a process that is forked from this one, which has imported everything and computed nothing: torch's
threads do not survive a fork.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import train
from gtzan_stream.cli import app as commands
from tests.train_cases import assert_equal_runs

SETTINGS = ["--epochs", "3", "--crops-per-clip", "1", "--num-workers", "1"]


def forked(program: Callable[[], object], log: Path) -> int:
    """Run a program in a process of its own, with everything imported already. Returns the process's number."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    status = 1
    try:
        program()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def ended(child: int, within_s: float) -> int | None:
    """Wait for a process; its exit status, or None if it was killed because it took longer."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def checked(program: Callable[[], object], log: Path) -> None:
    """Run a program that must end well."""
    if (status := ended(forked(program, log), 3600)) != 0:
        sys.exit(f"exit status {status}:\n{log.read_text()}")


def training(run: Path) -> Callable[[], object]:
    """The command that begins a run, or resumes it where there is something to resume."""
    shards = str(run.parent / "shards")
    new = ["--shards", shards, "--out", str(run.parent), "--name", run.name, *SETTINGS]
    return partial(train.app, ["--resume", str(run)] if (run / "last.pt").exists() else new)


def lives(run: Path, longest_s: float, rng: random.Random, most: int) -> int:
    """Train to the end of a run, killed after random times, `most` times at most. Returns the number of kills."""
    log = run.parent / f"{run.name}.log"
    for kills in range(most):
        status = ended(forked(training(run), log), rng.uniform(0, longest_s))
        if status == 0:
            return kills
        if status is not None:
            sys.exit(f"{run}: exit status {status} after {kills} kills:\n{log.read_text()}")
    checked(training(run), log)
    return most


def compare(one: Path, other: Path) -> None:
    """Raise AssertionError unless two runs have the same weights, history and results, and no unfinished files."""
    assert_equal_runs(one, other)
    left = {path.name for path in other.iterdir()} - {path.name for path in one.iterdir()}
    assert not left, left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, rng = options.folder, random.Random(options.seed)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    checked(partial(commands, ["demo", str(folder / "shards")]), log)
    begun = time.monotonic()
    checked(training(folder / "unbroken"), log)
    unbroken_s = time.monotonic() - begun
    kills: list[int] = []
    while sum(kills) < options.kills:
        run = folder / f"run-{len(kills)}"
        kills.append(lives(run, unbroken_s / 2, rng, options.kills - sum(kills)))
        checked(partial(compare, folder / "unbroken", run), log)
    print(json.dumps({"kills": sum(kills), "kills_of_each_run": kills, "unbroken_s": round(unbroken_s, 1)}))


if __name__ == "__main__":
    main()
