"""Contests: time several libraries at one operation, in turn on the same clips and cores, and measure their errors."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.lib.common import compete, spread
from gtzan_stream.augment.draw import Draw
from gtzan_stream.dsp.backend import is_importable
from gtzan_stream.errors import UserError
from gtzan_stream.threads import cores

OURS, TORCHAUDIO = "gtzan-stream", "torchaudio"
Run = Callable[[Tensor, Draw], Any]
"""(waveform [batch, time], the draw of its rows) -> a tensor for each row."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A library's implementation of an operation.

    Attributes
    ----------
    library : str
    run : callable
        Computes results in the precision of the waveform.
    exact : callable or None
        Computes the same in float64, as the reference for the error. None if that is impossible.
    batches : bool
        Whether `run` takes many clips at once and spreads them over the cores itself.
    note : str
        How the operation differs from that of the others, if it does.
    """

    library: str
    run: Run
    exact: Run | None
    batches: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """An operation and the libraries that compete at it.

    Attributes
    ----------
    operation, parameters : str
        Name of the operation, and its parameters as text.
    waveform : Tensor [batch, time], float32
    draw : Draw
        The parameters of each clip.
    contenders : sequence of Contender
        Including ours.
    librosa : callable or None
        The same operation by librosa, if all contenders should agree with it.
    """

    operation: str
    parameters: str
    waveform: Tensor
    draw: Draw
    contenders: Sequence[Contender]
    librosa: Run | None = None


def hold(contest: Contest, *, min_s: float, rounds: int) -> list[dict[str, Any]]:
    """Time every contender on one core and on all cores, or on the GPU, and measure its error.

    Returns
    -------
    list of dict
        A row for each contender and number of cores. `times_ours` is the contender's time over ours in the same
        round. Times are given as median, minimum and maximum.
    """
    errors = {c.library: error(contest, c) for c in contest.contenders}
    from_librosa = {c.library: error(contest, replace(c, exact=contest.librosa)) for c in contest.contenders}
    rows = []
    for n_cores, context in _modes(contest):
        n_clips, device = len(contest.waveform), contest.waveform.device
        with context as calls:
            seconds = compete(calls, device, min_s=min_s, rounds=rounds)
        for c in contest.contenders:
            paired = [theirs / ours for theirs, ours in zip(seconds[c.library], seconds[OURS], strict=True)]
            rows.append(
                {
                    "operation": contest.operation,
                    "parameters": contest.parameters,
                    "cores": n_cores,
                    "library": c.library,
                    "ms_per_clip": {name: 1e3 * s / n_clips for name, s in spread(seconds[c.library]).items()},
                    "runs": rounds,
                    "times_ours": spread(paired),
                    "error": errors[c.library],
                    "from_librosa": from_librosa[c.library],
                    "note": c.note,
                }
            )
    return rows


def fastest_peer(rows: Sequence[dict[str, Any]], operation: str, cores: Any, among: Sequence[str] = ()) -> Any:
    """Return the row of the fastest other library, among `among` if given; None if there is none."""
    peers = [
        row
        for row in rows
        if (row["operation"], row["cores"]) == (operation, cores)
        and row["library"] != OURS
        and (not among or row["library"] in among)
    ]
    return min(peers, key=lambda row: row["ms_per_clip"]["median"], default=None)


def error(contest: Contest, contender: Contender) -> float | None:
    """Return the `distance` of the first clip's result from its float64 version; None if there is none."""
    if contender.exact is None:
        return None
    one = contest.waveform[:1]
    _seed()
    result = contender.run(one, contest.draw[:1])[0]
    _seed()
    return distance(result, contender.exact(one.double(), contest.draw[:1])[0])


def distance(result: Tensor, reference: Tensor) -> float:
    """Return the RMS of the difference relative to the RMS of the reference, over the shorter length."""
    length = min(result.shape[-1], reference.shape[-1])
    result, reference = result.to(reference)[..., :length], reference[..., :length]
    return float(torch.linalg.vector_norm(result - reference) / torch.linalg.vector_norm(reference))


def need(*modules: str) -> None:
    """Raise UserError with the command to install a library, if it is missing."""
    for module in modules:
        if not is_importable(module):
            raise UserError(f"{module} is not installed, and this benchmark needs it: pip install -e '.[bench]'")


def _seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - audiomentations draws from this generator


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch, BLAS and OpenMP use `n` threads each."""
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        with threadpool_limits(n):
            yield
    finally:
        torch.set_num_threads(before)


def _modes(contest: Contest) -> Iterator[tuple[int | str, Any]]:
    """Yield each number of cores to measure on, or "GPU", with a context that gives the function of each library."""
    if contest.waveform.device.type == "cuda":
        yield "GPU", _on_gpu(contest)
        return
    yield 1, _one_core(contest)
    if cores() > 1:
        yield cores(), _all_cores(contest)


def _clip_by_clip(contest: Contest, run: Run) -> list[Callable[[], object]]:
    rows = [slice(i, i + 1) for i in range(len(contest.waveform))]
    return [lambda row=row: run(contest.waveform[row], contest.draw[row]) for row in rows]  # type: ignore[misc]


@contextmanager
def _one_core(contest: Contest) -> Iterator[dict[str, Callable[[], object]]]:
    """Run all libraries clip by clip on one thread, so that none gains from batches."""

    def all_clips(contender: Contender) -> Callable[[], object]:
        clips = _clip_by_clip(contest, contender.run)
        return lambda: [clip() for clip in clips]

    with threads(1):
        yield {c.library: all_clips(c) for c in contest.contenders}


@contextmanager
def _all_cores(contest: Contest) -> Iterator[dict[str, Callable[[], object]]]:
    """Give libraries that use several cores all clips at once, and run others in one thread per clip."""
    with threads(1), ThreadPoolExecutor(cores()) as pool:

        def all_clips(contender: Contender) -> Callable[[], object]:
            if contender.batches:
                return lambda: contender.run(contest.waveform, contest.draw)
            clips = _clip_by_clip(contest, contender.run)
            return lambda: [future.result() for future in [pool.submit(clip) for clip in clips]]

        yield {c.library: all_clips(c) for c in contest.contenders}


@contextmanager
def _on_gpu(contest: Contest) -> Iterator[dict[str, Callable[[], object]]]:
    """Give all libraries all clips at once."""

    def all_clips(contender: Contender) -> Callable[[], object]:
        return lambda: contender.run(contest.waveform, contest.draw)

    yield {c.library: all_clips(c) for c in contest.contenders}
