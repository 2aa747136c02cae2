"""Kill a training at random moments, resume it each time, and compare its end with a run that was never killed.

python tests/kills.py FOLDER --kills 100

Trains on the demo set. A training that ends in spite of the kills is compared with the unbroken one, to the bit, and the
next one begins, until the kills are used up. Prints what was done as JSON; the exit status is 1 if a run differs.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import train
from gtzan_stream.cli import app as commands
from tests.train_cases import assert_equal_runs

SETTINGS = ["--epochs", "3", "--crops-per-clip", "1", "--num-workers", "1"]


def forked(program, arguments: list[str], log: Path) -> int:
    """Run a command line in a process of its own, with everything imported already. Returns the process's number."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    status = 1
    try:
        program(arguments, standalone_mode=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
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


def checked(child: int, log: Path) -> None:
    """Wait for a process that must end well."""
    if (status := ended(child, 3600)) != 0:
        sys.exit(f"exit status {status}:\n{log.read_text()}")


def lives(run: Path, shards: Path, longest_s: float, rng: random.Random, most: int) -> tuple[int, bool]:
    """Train into a folder, killed after random times. Returns the number of kills, and whether the run ended."""
    log = run.parent / f"{run.name}.log"
    for kills in range(most):
        if (run / "last.pt").exists():
            arguments = ["--resume", str(run)]
        else:
            arguments = ["--shards", str(shards), "--out", str(run.parent), "--name", run.name, *SETTINGS]
        status = ended(forked(train.app, arguments, log), rng.uniform(0, longest_s))
        if status is not None:
            if status != 0:
                sys.exit(f"{run}: exit status {status} after {kills} kills:\n{log.read_text()}")
            return kills, True
    return most, False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, rng = options.folder, random.Random(options.seed)
    folder.mkdir(parents=True, exist_ok=True)
    shards, log = folder / "shards", folder / "log.txt"
    checked(forked(commands, ["demo", str(shards)], log), log)
    begun = time.monotonic()
    start = ["--shards", str(shards), "--out", str(folder), "--name", "unbroken", *SETTINGS]
    checked(forked(train.app, start, log), log)
    longest_s = time.monotonic() - begun
    done, runs, resumed = 0, 0, 0
    while done < options.kills:
        run = folder / f"run-{runs}"
        kills, finished = lives(run, shards, longest_s, rng, options.kills - done)
        done += kills
        if not finished:  # the kills are used up: let this run end
            arguments = (
                ["--resume", str(run)]
                if (run / "last.pt").exists()
                else [*start[: -len(SETTINGS) - 1], run.name, *SETTINGS]
            )
            checked(forked(train.app, arguments, folder / "last.log"), folder / "last.log")
        runs += 1
        resumed += kills > 0
        assert_equal_runs(folder / "unbroken", run)
        left = sorted(str(path) for path in run.iterdir() if "unfinished" in path.name)
        assert not left, left
    print(json.dumps({"kills": done, "runs": runs, "killed_runs": resumed, "longest_s": round(longest_s, 1)}))


if __name__ == "__main__":
    main()
