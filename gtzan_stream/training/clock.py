"""Measure how much of its time a training loop waits for data."""

import time
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

import torch

T = TypeVar("T")


class DataClock:
    """Measures the share of a loop's time that is spent waiting for its batches.

    On a GPU, steps are only queued by the host, so the times are taken on the GPU, by CUDA events: waiting is the time
    from the end of one step's work until the next batch is ready.

    Examples
    --------
    >>> clock = DataClock(torch.device("cpu"))
    >>> for number in clock.watch(range(3)):
    ...     time.sleep(0.01)
    >>> clock.waiting < 0.5
    True
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._marks: list[tuple[Any, Any, Any]] = []  # times: before waiting, before the step, after the step
        self._times: list[tuple[float, float]] = []
        self._waited = self._worked = 0.0

    def watch(self, batches: Iterable[T]) -> Generator[T]:
        """Yield the batches and record the time before and after each."""
        asked = self._mark()
        for batch in batches:
            ready = self._mark()
            try:
                yield batch
            finally:  # also after the last step of a loop that breaks and closes this generator
                done = self._mark()
                self._marks.append((asked, ready, done))
            asked = done

    @property
    def waiting(self) -> float:
        """Share of the time so far that was spent waiting, 0..1. On a GPU, synchronises with it first."""
        self._convert_marks()
        total = self._waited + self._worked
        return self._waited / total if total else 0.0

    def take_times(self) -> list[tuple[float, float]]:
        """Return the seconds of waiting and of work of each step since the last call; on a GPU, synchronise first."""
        self._convert_marks()
        times, self._times = self._times, []
        return times

    def _convert_marks(self) -> None:
        """Convert the marks to seconds."""
        if self._cuda is not None:
            torch.cuda.synchronize(self._cuda)
        for asked, ready, done in self._marks:
            waited, worked = self._between(asked, ready), self._between(ready, done)
            self._waited += waited
            self._worked += worked
            self._times.append((waited, worked))
        self._marks.clear()

    def _mark(self) -> Any:
        if self._cuda is None:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._cuda))
        return event

    def _between(self, start: Any, end: Any) -> float:
        return end - start if self._cuda is None else start.elapsed_time(end) / 1000
