"""Helpers of the programs that train with Lightning and Accelerate, and of the tests that compare their batches."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from gtzan_stream import Batch

ROOT = Path(__file__).parent.parent
SETTINGS: dict[str, Any] = {"split": "demo", "part": "train", "batch_size": 8, "seed": 3, "crops_per_clip": 2}
"""Settings of their loaders. With the shards `tiny`, each epoch has 5 batches, and all weights are 1."""
UNEVEN: dict[str, Any] = {"batch_size": 7, "mixup": 0.4}
"""Further settings. Of two ranks, one gets 4 rows and one 3, of which the last batch has two fillers."""


def described(batch: Batch) -> list[list[Any]]:
    """Return each row's key, crop, start, weight, and a digest of its features."""
    digests = [hashlib.sha256(row.contiguous().numpy().tobytes()).hexdigest() for row in batch.features]
    columns = (batch.keys, batch.crops.tolist(), batch.starts.tolist(), batch.weights.tolist(), digests)
    return [list(row) for row in zip(*columns, strict=True)]


def run(program: str, jobs: list[dict[str, Any]], *, launcher: tuple[str, ...] = ()) -> None:
    """Run a program of this folder with its jobs in a new process; `launcher` holds arguments before the program."""
    command = [sys.executable, *launcher, str(ROOT / "tests" / program), json.dumps(jobs)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def results(out: Path, name: str) -> list[dict[str, Any]]:
    """Read the results that the ranks of a job wrote."""
    found = [json.loads(path.read_text()) for path in sorted(out.glob(f"{name}.[0-9].json"))]
    assert found, f"{name} wrote nothing"
    return found


def global_batches(ranks: list[dict[str, Any]], kind: str = "train") -> list[tuple[int, int, list[tuple]]]:
    """Join the batches of all ranks. Returns the epoch, the index and the sorted rows of each global batch."""
    seen = [[batch for batch in rank["seen"] if batch["kind"] == kind] for rank in ranks]
    batches = []
    for parts in zip(*seen, strict=True):
        ((epoch, index),) = {(part["epoch"], part["index"]) for part in parts}
        batches.append((epoch, index, sorted(tuple(row) for part in parts for row in part["rows"])))
    return batches


def largest_difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the largest difference between the weights of two networks."""
    assert one["weights"].keys() == other["weights"].keys()
    return max(np.abs(np.subtract(value, other["weights"][name])).max() for name, value in one["weights"].items())
