"""Loaders in processes that multiprocessing forks or spawns make the correct batches and never hang."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader, IterableDataset

from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader

ROOT = Path(__file__).parent.parent
needs_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")

PROGRAM = """
import json, multiprocessing, sys, threading, time, torch
from gtzan_stream.loader import Loader

def summary(batches):
    return [[batch.keys, float(batch.features.double().sum())] for batch in batches]

def make(n):
    return Loader(sys.argv[1], batch_size=8, num_workers=n, seed=3)

def child(queue, loader, n):
    queue.put([summary(make(n) if loader is None else loader), torch.get_num_threads()])

def in_child(method, loader=None, n=0):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=child, args=(queue, loader, n), daemon=True)
    process.start()
    result = queue.get(timeout=100)
    process.join(30)
    return result
"""

FORKED = (
    PROGRAM
    + """
from gtzan_stream import kernels
from numba.core.compiler_lock import global_compiler_lock
held = threading.Event()

def compile_for_a_while():
    with global_compiler_lock:
        held.set()
        time.sleep(0.5)

torch.set_num_threads(2)
threading.Thread(target=compile_for_a_while).start()
held.wait()
found = {"while a thread compiles": in_child("fork")}  # first, as the child needs kernels that are not loaded yet
(torch.ones(800, 800) @ torch.ones(800, 800)).exp().sum()  # starts torch's own threads, which a child does not inherit
loader = make(2)
expected = summary(loader)
loader.set_epoch(0)
found |= {"new": in_child("fork"), "new, with threads": in_child("fork", n=2), "the parent's": in_child("fork", loader)}
iterator = iter(loader)
next(iterator)
with loader._maker._reader._shards._lock:  # as if another thread of the parent were opening a shard
    found["the parent's, while it reads"] = in_child("fork", loader)
rest = summary(iterator)
print(json.dumps({"expected": expected, "rest": rest, "threads": torch.get_num_threads(), "found": found}))
"""
)

SPAWNED = (
    PROGRAM
    + """
if __name__ == "__main__":
    loader = make(2)
    expected = summary(loader)
    print(json.dumps([in_child("spawn", n=2)[0], expected]))
"""
)


def run(program: Path, text: str, shards: Path) -> Any:
    program.write_text(text)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(program), str(shards)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout), done.stderr


@needs_fork
def test_a_loader_works_in_a_forked_process(shards: Path, tmp_path: Path):
    result, messages = run(tmp_path / "program.py", FORKED, shards)
    assert len(result["found"]) == 5
    for case, (batches, threads) in result["found"].items():
        assert batches == result["expected"], case
        assert threads == 1
    assert messages.count("torch computes on one thread here") == 5
    assert result["rest"] == result["expected"][1:]
    assert result["threads"] == 2, "the parent keeps its threads"


@pytest.mark.slow
def test_a_loader_works_in_a_spawned_process(shards: Path, tmp_path: Path):
    (spawned, expected), _ = run(tmp_path / "program.py", SPAWNED, shards)
    assert spawned == expected


def test_a_loader_cannot_be_sent_to_a_spawned_process(shards: Path):
    with Loader(shards, batch_size=8, num_workers=0) as loader:
        process = multiprocessing.get_context("spawn").Process(target=print, args=(loader,))
        with pytest.raises(UserError, match="make one where it is needed, and pass its state_dict"):
            process.start()


class MakesLoader(IterableDataset):
    """Dataset that makes a loader in the worker process of a DataLoader."""

    def __init__(self, shards: Path) -> None:
        self.shards = shards

    def __iter__(self) -> Any:
        with Loader(self.shards, batch_size=8, num_workers=0, seed=3) as loader:
            yield from loader


@pytest.mark.slow
def test_a_loader_made_in_a_worker_process_of_a_dataloader_is_refused(shards: Path):
    with pytest.raises(UserError, match="each worker process of a DataLoader would yield every batch"):
        list(DataLoader(MakesLoader(shards), batch_size=None, num_workers=1, multiprocessing_context="spawn"))
