"""Contests: one operation, several libraries, the same clips, in turn, on the same cores, each with its error."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import compete, spread
from gtzan_stream.augment.draw import Draw
from gtzan_stream.dsp.backend import cores, importable
from gtzan_stream.errors import UserError

OURS = "gtzan-stream"
Run = Callable[[Tensor, Draw], Any]
"""(waveform [batch, time], the draw of its rows) -> tensors, one for each row"""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A library's way to do an operation.

    Attributes
    ----------
    library : str
    run : callable
        Results in the precision of the waveform.
    exact : callable or None
        The same in float64, which the error is taken from; `run` itself by default. None where there is no such thing.
    batches : bool
        Whether `run` is given many clips at once, and spreads them over the cores itself.
    note : str
        Where it does something else than the others.
    """

    library: str
    run: Run
    exact: Run | None
    batches: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """An operation, and who takes part.

    Attributes
    ----------
    operation, says : str
        Its name, and its parameters in words.
    waveform : Tensor [batch, time], float32
    draw : Draw
        The parameters of each clip.
    contenders : sequence of Contender
        Ours among them.
    librosa : callable or None
        The same operation by librosa, where all contenders should agree with it.
    """

    operation: str
    says: str
    waveform: Tensor
    draw: Draw
    contenders: Sequence[Contender]
    librosa: Run | None = None


def hold(contest: Contest, *, min_s: float, rounds: int) -> list[dict[str, Any]]:
    """Time every contender, on one core and on all of them, or on the GPU; and take its error.

    Returns
    -------
    list of dict
        A row for each contender and number of cores: `ms_per_clip` and `times_ours`, that time over ours in the same
        round, each with median, least and greatest.
    """
    errors = {c.library: error(contest, c) for c in contest.contenders}
    from_librosa = {c.library: error(contest, replace(c, exact=contest.librosa)) for c in contest.contenders}
    rows = []
    for where, functions in _modes(contest):
        n_clips, device = len(contest.waveform), contest.waveform.device
        with functions as calls:
            seconds = compete(calls, device, min_s=min_s, rounds=rounds)
        for c in contest.contenders:
            paired = [theirs / ours for theirs, ours in zip(seconds[c.library], seconds[OURS], strict=True)]
            rows.append(
                {
                    "operation": contest.operation,
                    "parameters": contest.says,
                    "cores": where,
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
    """The row of the fastest other library, among those named or all; None where there is none."""
    peers = [
        row
        for row in rows
        if (row["operation"], row["cores"]) == (operation, cores)
        and row["library"] != OURS
        and (not among or row["library"] in among)
    ]
    return min(peers, key=lambda row: row["ms_per_clip"]["median"], default=None)


def error(contest: Contest, contender: Contender) -> float | None:
    """How far the first clip's result is from the float64 one: root mean square, relative to the latter's."""
    if contender.exact is None:
        return None
    one = contest.waveform[:1]
    _seed()
    result = contender.run(one, contest.draw[:1])[0]
    _seed()
    return distance(result, contender.exact(one.double(), contest.draw[:1])[0])


def distance(result: Tensor, reference: Tensor) -> float:
    """Root mean square of the difference, relative to that of the reference, over the shorter of the two."""
    length = min(result.shape[-1], reference.shape[-1])
    result, reference = result.to(reference)[..., :length], reference[..., :length]
    return float(torch.linalg.vector_norm(result - reference) / torch.linalg.vector_norm(reference))


def need(*modules: str) -> None:
    """Raise UserError, with the command that installs it, if a library to compare with is missing."""
    for module in modules:
        if not importable(module):
            raise UserError(f"{module} is not installed, but compared with here: pip install -e '.[bench]'")


def _seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - audiomentations draws from it


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
    """Numbers of cores, and a context of functions that use them."""
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
    """Everybody clip by clip: then no library has more to spread than its own threads, of which there is one."""

    def whole(contender: Contender) -> Callable[[], object]:
        clips = _clip_by_clip(contest, contender.run)
        return lambda: [clip() for clip in clips]

    with threads(1):
        yield {c.library: whole(c) for c in contest.contenders}


@contextmanager
def _all_cores(contest: Contest) -> Iterator[dict[str, Callable[[], object]]]:
    """Batches for those that spread them; for the others a thread for each core, clip by clip."""
    with threads(1), ThreadPoolExecutor(cores()) as pool:

        def whole(contender: Contender) -> Callable[[], object]:
            if contender.batches:
                return lambda: contender.run(contest.waveform, contest.draw)
            clips = _clip_by_clip(contest, contender.run)
            return lambda: [future.result() for future in [pool.submit(clip) for clip in clips]]

        yield {c.library: whole(c) for c in contest.contenders}


@contextmanager
def _on_gpu(contest: Contest) -> Iterator[dict[str, Callable[[], object]]]:
    def whole(contender: Contender) -> Callable[[], object]:
        return lambda: contender.run(contest.waveform, contest.draw)

    yield {c.library: whole(c) for c in contest.contenders}
