"""Record the steps of a run while it trains, in steps.jsonl."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from gtzan_stream.errors import writing

STEPS = "steps.jsonl"


class Recorder:
    """Writes a line for each training step into steps.jsonl, which continues after a resume.

    The measures of a step stay on the device until `write` reads those of many steps at once, so that the host does not
    wait for the device in each step.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    steps : int
        Steps done so far. Lines of later steps, which a killed run wrote after its last checkpoint, are cut off, and so
        is a line that was not written to its end.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        self._path = folder / STEPS
        self._waiting: list[tuple[dict[str, Any], Tensor]] = []  # rows without measures, and their sums
        with writing(self._path):
            self._file = self._path.open("a+b")
            _cut_off(self._file, steps)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, sums: Tensor, *, step: int, epoch: int, lr: float) -> None:
        """Add a step, from the result of `sums_of` over all ranks, which must not change afterwards."""
        self._waiting.append(({"step": step, "epoch": epoch, "lr": lr}, sums))

    def write(self, times: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
        """Write the oldest steps that were added, one for each of `times`: seconds of waiting, and of work.

        Returns the rows that were written.
        """
        if not times:
            return []
        written, self._waiting = self._waiting[: len(times)], self._waiting[len(times) :]
        measures = torch.stack([sums for _, sums in written]).tolist()
        rows = [
            row | _measures(numbers, *seconds)
            for (row, _), numbers, seconds in zip(written, measures, times, strict=True)
        ]
        with writing(self._path):
            self._file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
            self._file.flush()
        return rows

    def sync(self) -> None:
        """Make sure that the lines are on the disk, before a checkpoint counts their steps as done."""
        with writing(self._path):
            os.fsync(self._file.fileno())


def _measures(sums: Sequence[float], waited_s: float, worked_s: float) -> dict[str, Any]:
    """Return the measures of a step; None if no example counts, or no time was measured."""
    loss, correct, examples = sums
    seconds = waited_s + worked_s
    return {
        "loss": loss / examples if examples else None,
        "accuracy": correct / examples if examples else None,
        "crops_per_second": examples / seconds if seconds else None,
        "data_wait_share": waited_s / seconds if seconds else None,
    }


def _cut_off(file: Any, steps: int) -> None:
    """Cut off a file of steps before the first line that is damaged or belongs to a step after `steps`."""
    file.seek(0)
    end = 0
    for line in file:
        if not line.endswith(b"\n") or _step_of(line) > steps:
            break
        end += len(line)
    file.truncate(end)


def _step_of(line: bytes) -> float:
    """Return the step of a line; infinity if the line is damaged."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
