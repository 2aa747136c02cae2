"""Audiomentations: apply transforms of the library of that name, reproducibly and on several cores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw, Examples
from gtzan_stream.augment.seeded import Function, call_seeded
from gtzan_stream.augment.waveforms import fit
from gtzan_stream.augment.workers import Workers
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.threads import cores


class Audiomentations(Transform):
    """Apply a transform of the library audiomentations to each example.

    The library draws from Python's and numpy's global random state. For each example both are seeded with a number
    drawn like any other parameter, and restored afterwards, so results do not depend on the number of workers. It runs
    on the CPU; waveforms on other devices are copied there and back. No extra samples are read: the output is cut or
    zero-padded to the length of its input.

    Parameters
    ----------
    transform : callable (float32 [time], sample rate) -> float32 [time]
        A transform of audiomentations, such as a `Compose`. Its own `p` applies too.
    p : float in 0..1
        The probability that an example is transformed.
    sample_rate : int
        Hz.
    num_workers : int, optional
        Worker processes, by default one per core. With 0, the calling process computes one example at a time.
    timeout_s : float
        How long a worker process may take for one example, before it is killed and the example is a `BadSample`. The
        first example of each process gets a minute more, because libraries are imported then.

    Raises
    ------
    BadSample
        When applied, if `transform` raises an error or returns anything but finite mono samples, or its worker process
        ends or takes too long.
    UserError
        When applied, if a worker process cannot load `transform`, or too many examples in a row end their processes.
    """

    def __init__(
        self,
        transform: Function,
        *,
        p: float = 1.0,
        sample_rate: int = 22050,
        num_workers: int | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        super().__init__(p=p)
        if not callable(transform):
            raise TypeError(f"Audiomentations: expected a transform of audiomentations, got {transform!r}")
        num_workers = cores() if num_workers is None else num_workers
        if num_workers < 0 or sample_rate <= 0 or not timeout_s > 0:
            raise ValueError(
                "Audiomentations: expected num_workers >= 0, sample_rate > 0 and timeout_s > 0, "
                f"got {num_workers}, {sample_rate} and {timeout_s}"
            )
        self.transform = transform
        self.sample_rate = sample_rate
        self.num_workers = num_workers
        self._workers = Workers(transform, num_workers, timeout_s) if num_workers else None

    def parameters_of(self, examples: Examples, path: str) -> dict[str, np.ndarray]:
        return {"seed": np.floor(examples.uniform(f"{path}.seed") * 2.0**53)}

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        width = waveform.shape[1] if length is None else length
        rows = waveform[:, :width].to("cpu", torch.float32).numpy()
        if self._workers is None or len(rows) == 1:
            changed = [self._transform_row(rows[row], draw, row) for row in range(len(rows))]
        else:
            with ThreadPoolExecutor(self.num_workers) as threads:
                changed = list(threads.map(lambda row: self._transform_row(rows[row], draw, row), range(len(rows))))
        return torch.cat([fit(row, width) for row in changed]).to(waveform)

    def close(self) -> None:
        """End the worker processes. The transform cannot be used any more. Without this, they end with the program."""
        if self._workers is not None:
            self._workers.close()

    def _transform_row(self, samples: np.ndarray, draw: Draw, row: int) -> Tensor:
        seed = int(draw.values["seed"][row])
        try:
            if self._workers is not None:
                changed = self._workers.call(samples, self.sample_rate, seed)
            else:
                changed = call_seeded(self.transform, samples, self.sample_rate, seed)
        except UserError:  # concerns all rows: a loader must not skip it
            raise
        except (ValueError, SystemExit) as error:
            reason = f"SystemExit: {error}" if isinstance(error, SystemExit) else error
            name = getattr(self.transform, "__name__", type(self.transform).__name__)
            raise BadSample(f"{draw.label(row)}: {name} failed: {reason}") from error
        return torch.from_numpy(changed)[None]

    def extra_repr(self) -> str:
        return f"{self.transform!r}, p={self.p:g}"
