"""Kill training at random moments, resume it each time, and compare the result with an uninterrupted run.

python tests/kills.py FOLDER --kills 100

Trains on the demo set. A run that reaches its end in spite of the kills is compared with the uninterrupted one, to the
bit; then the next run starts, until the kills are used up. Prints a summary as JSON; exits with 1 if a run differs.

Every training is forked from this process, which has imported everything and computed nothing: torch's threads do not
survive a fork.
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


def fork(program: Callable[[], object], log: Path) -> int:
    """Run `program` in a forked process, which has everything imported already, and return its process ID."""
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


def wait_or_kill(child: int, within_s: float) -> int | None:
    """Wait for a process. Return its exit status, or None if it took too long and was killed."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run_or_exit(program: Callable[[], object], log: Path) -> None:
    """Run a program, and exit if it fails."""
    if (status := wait_or_kill(fork(program, log), 3600)) != 0:
        sys.exit(f"exit status {status}:\n{log.read_text()}")


def training_command(run: Path) -> Callable[[], object]:
    """Return the command that resumes a run if it has a checkpoint, and starts it otherwise."""
    shards = str(run.parent / "shards")
    new = ["--shards", shards, "--out", str(run.parent), "--name", run.name, *SETTINGS]
    return partial(train.app, ["--resume", str(run)] if (run / "last.pt").exists() else new)


def train_and_kill(run: Path, max_life_s: float, rng: random.Random, max_kills: int) -> int:
    """Train to the end of a run, killed at most `max_kills` times, and return the number of kills."""
    log = run.parent / f"{run.name}.log"
    for kills in range(max_kills):
        status = wait_or_kill(fork(training_command(run), log), rng.uniform(0, max_life_s))
        if status == 0:
            return kills
        if status is not None:
            sys.exit(f"{run}: exit status {status} after {kills} kills:\n{log.read_text()}")
    run_or_exit(training_command(run), log)
    return max_kills


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
    run_or_exit(partial(commands, ["demo", str(folder / "shards")]), log)
    start = time.monotonic()
    run_or_exit(training_command(folder / "unbroken"), log)
    unbroken_s = time.monotonic() - start
    kills: list[int] = []
    while sum(kills) < options.kills:
        run = folder / f"run-{len(kills)}"
        kills.append(train_and_kill(run, unbroken_s / 2, rng, options.kills - sum(kills)))
        run_or_exit(partial(compare, folder / "unbroken", run), log)
    print(json.dumps({"kills": sum(kills), "kills_of_each_run": kills, "unbroken_s": round(unbroken_s, 1)}))


if __name__ == "__main__":
    main()
