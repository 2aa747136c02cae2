"""Transform, the base class: draw parameters on the host, compute which input they need, apply them on any device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor, compiler, nn

from gtzan_stream.augment.draw import Draw, Examples, Keys, Source
from gtzan_stream.augment.rows import OnFailure, apply_rows, compute_in_torch
from gtzan_stream.augment.waveforms import check_computed, check_examples, check_shape, fit
from gtzan_stream.distributed import rank_and_world_size
from gtzan_stream.dsp.parameters import to_device
from gtzan_stream.shapes import Waveforms


class Transform(nn.Module):
    """An augmentation of a batch of waveforms, with separate parameters for each example.

    A subclass draws parameters in `parameters_of` and computes rows in `compute`. If output sample n does not depend on
    input sample n alone, it also overrides `source_of` (the input it needs), and if time runs at another rate,
    `rate_of`. The constructor should work without arguments, so that tests and recipes can build it by name.

    Parameters
    ----------
    p : float in 0..1
        The probability that an example is transformed.

    Attributes
    ----------
    calls : int
        Number of calls without keys; see `forward`.

    Examples
    --------
    >>> import torch
    >>> class Invert(Transform):
    ...     def compute(self, waveform, draw, length):
    ...         return -waveform[:, :length]
    >>> Invert()(torch.tensor([[0.25, -0.5]]))
    tensor([[-0.2500,  0.5000]])
    """

    def __init__(self, *, p: float = 1.0) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: expected 0 <= p <= 1, got p={p}")
        self.p = float(p)
        self.calls = 0

    def __init_subclass__(cls, **options: Any) -> None:
        """Let rows call `compute` if a subclass overrides it, or what it calls, without a `compute_row` of its own."""
        super().__init_subclass__(**options)
        first = {name: i for i, base in reversed([*enumerate(cls.__mro__)]) for name in vars(base)}
        by_row = min(first.get(name, len(first)) for name in ("compute_row", "dsp_row"))
        if any(first.get(name, by_row) < by_row for name in ("compute", "dsp_warp", "dsp_source")):
            cls.compute_row = Transform.compute_row  # type: ignore[method-assign]

    # To override in subclasses. `parameters_of` draws for all rows; the others only get rows that were chosen.

    def parameters_of(self, examples: Examples, path: str) -> dict[str, np.ndarray]:
        """Draw the parameters, each float64 [batch]. Names of random choices must begin with `path`."""
        return {}

    def source_of(self, length: np.ndarray, draw: Draw) -> Source:
        """Return which input samples `length` output samples need; see `source`."""
        return Source(np.zeros_like(length), length)

    def rate_of(self, draw: Draw) -> np.ndarray:
        """Return how fast time runs, float64 [batch]; see `rate`."""
        return np.ones(len(draw))

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        """Transform rows without modifying them.

        With `length`, each row holds the input that `source_of` asks for, and the result has `length` samples; if a row
        needs fewer, the rest is ignored. Without, rows are whole clips and the result is as long as they are.
        """
        raise NotImplementedError(f"{type(self).__name__} has no compute(waveform, draw, length)")

    def compute_row(self, samples: np.ndarray, draw: Draw, row: int, before: int | None, out: np.ndarray) -> None:
        """Fill `out` with one transformed row: `compute` for float32 on the CPU, without the cost of torch's calls.

        Optional; the results must be those of `compute`, which a subclass that overrides it alone gets.

        Parameters
        ----------
        samples : float32 array [time]
            The input that `source_of` asks for.
        draw : Draw
            The draw of the batch.
        row : int
            Index in `draw`.
        before : int or None
            ``source_of(...).before``; None for a whole clip, for which `out` is as long as `samples`.
        out : float32 array [length], undefined at first and, like `samples`, valid during the call only
        """
        compute_in_torch(self, samples, draw[row : row + 1], before is None, out)

    def draw(
        self, keys: Keys, *, seed: int = 0, epoch: int = 0, crops: Sequence[int] | np.ndarray | None = None
    ) -> Draw:
        """Draw the parameters of each example, on the host.

        They depend only on seed, epoch, key and crop index: not on the batch, its order, or any global state.

        Parameters
        ----------
        keys : sequence of str, or uint64 array of their hashes
            Keys of the clips.
        seed, epoch : int
            Parameters differ from epoch to epoch.
        crops : integers [batch], optional
            Crop index of each example; 0 by default.
        """
        return self.draw_for(Examples.of(keys, seed=seed, epoch=epoch, crops=crops), type(self).__name__)

    def draw_for(self, examples: Examples, path: str) -> Draw:
        """Draw with names of random choices that begin with `path`: the position in a chain, and the class."""
        return Draw(
            name=type(self).__name__,
            chosen=self.choose(examples, path),
            values=self.parameters_of(examples, path),
            rng=examples.rng(f"{path}.noise"),
            key_hash=examples.key_hash,
            crops=examples.crops,
            keys=examples.keys,
        )

    def choose(self, examples: Examples, path: str) -> np.ndarray:
        """Choose the examples to transform, with probability `p` each: bool [batch]."""
        if self.p in (0.0, 1.0):
            return np.full(len(examples.key_hash), self.p == 1.0)
        return examples.uniform(f"{path}.chosen") < self.p

    def source(self, length: int | np.ndarray, draw: Draw) -> Source:
        """Return which input samples `apply` needs to compute `length` output samples, for each example.

        Parameters
        ----------
        length : int or int64 [batch]
            Output samples.
        draw : Draw
            Returned by `draw`.

        Returns
        -------
        Source
            ``before`` and ``length``, int64 [batch]; 0 and `length` for examples that were not chosen.
        """
        wanted = np.broadcast_to(np.asarray(length, dtype=np.int64), len(draw))
        if draw.chosen.all():
            return self.source_of(wanted, draw)
        before, needed = np.zeros_like(wanted), wanted.copy()
        rows = np.flatnonzero(draw.chosen)
        if rows.size:
            part = self.source_of(wanted[rows], draw[rows])
            before[rows], needed[rows] = part.before, part.length
        return Source(before, needed)

    def rate(self, draw: Draw) -> np.ndarray:
        """Return how fast time runs, float64 [batch]: above 1 is faster.

        Output sample n corresponds to the input ``n * rate`` samples after that of output sample 0, to within a sample.
        """
        rate = np.ones(len(draw))
        rows = np.flatnonzero(draw.chosen)
        if rows.size:
            rate[rows] = self.rate_of(draw[rows])
        return rate

    def apply(  # type: ignore[override]  # replaces nn.Module.apply(fn): a transform has no weights to initialise
        self,
        waveform: Waveforms,
        draw: Draw,
        length: int | np.ndarray | None = None,
        *,
        failed: OnFailure | None = None,
        overwrite: bool = False,
    ) -> Float[Tensor, "batch *channel filled"]:
        """Transform the chosen examples and copy the others.

        Parameters
        ----------
        waveform : Tensor [batch, time] or [batch, channel, time], float32 or float64
            Samples, full scale at +/-1. Not modified unless `overwrite`. The channels of an example share one draw.
        draw : Draw
            Returned by `draw` for these examples.
        length : int or int64 [batch], optional
            Output samples. Row i then holds, from column 0, the ``source(length, draw).length[i]`` samples that
            `source` asks for. Without it, rows are whole clips, and the output is cut or zero-padded to their length.
        failed : callable (int, ValueError), optional
            Called for each row that raises ValueError, instead of raising it; such a row is zeros. The others are not
            changed by it. (On CUDA they are then computed one by one, and may differ in rounding.)
        overwrite : bool
            Whether `waveform` may be modified, and the result may share its memory, which saves a copy.

        Returns
        -------
        Tensor [batch, time] or [batch, channel, time]
            Same dtype and device. With `length`, row i is valid in ``:length[i]``. NaN in a row stays in that row.

        Raises
        ------
        ValueError
            If the number of examples is not that of the draw, or rows have too few samples.
        TypeError
            If `waveform` is neither float32 nor float64.
        """
        check_examples(type(self).__name__, waveform, len(draw))
        if waveform.ndim == 3:
            rows = np.repeat(np.arange(len(draw)), waveform.shape[1])
            lengths = None if length is None else np.broadcast_to(length, len(draw))[rows]
            failed_channel = None if failed is None else lambda row, error: failed(int(rows[row]), error)
            out = self.apply(waveform.flatten(0, 1), draw[rows], lengths, failed=failed_channel, overwrite=overwrite)
            return out.unflatten(0, waveform.shape[:2])
        wanted = None if length is None else np.broadcast_to(np.asarray(length, dtype=np.int64), len(draw))
        return apply_rows(self, waveform, draw, wanted, failed, overwrite=overwrite)

    def forward(
        self, waveform: Waveforms, keys: Keys | None = None, *, seed: int = 0, epoch: int | None = None
    ) -> Waveforms:
        """Draw parameters and apply them to whole clips. The result has the same shape, dtype and device.

        Parameters
        ----------
        waveform : Tensor [batch, time] or [batch, channel, time], float32 or float64
            Samples, full scale at +/-1. Not modified. A sample that is not finite affects only its own row.
        keys : sequence of str, or uint64 array of their hashes, optional
            An example's parameters depend on its key, not on the batch. By default, row i on rank r has the key "r/i".
        seed : int
        epoch : int, optional
            By default 0; without keys, the number of calls so far (`calls`), so that each batch gets new parameters.
        """
        # Drawing uses numpy, which torch.compile cannot trace, so run this part uncompiled.
        forward = compiler.disable(self._forward) if compiler.is_compiling() else self._forward
        return forward(waveform, keys, seed, epoch)

    def _forward(self, waveform: Tensor, keys: Keys | None, seed: int, epoch: int | None) -> Tensor:
        if keys is None:
            check_shape(type(self).__name__, waveform)
            rank, _ = rank_and_world_size()
            keys = [f"{rank}/{row}" for row in range(len(waveform))]
            if epoch is None:
                epoch, self.calls = self.calls, self.calls + 1
        return self.apply(waveform, self.draw(keys, seed=seed, epoch=epoch or 0))

    def close(self) -> None:
        """Release resources such as worker processes."""

    def leaves(self, draw: Draw) -> list[tuple[Transform, Draw]]:
        """List the transforms that compute something, in the order in which they are applied, each with its draw."""
        return [(self, draw)]

    def run(self, waveform: Tensor, draw: Draw, wanted: np.ndarray | None) -> Tensor:
        """Do `apply` without its checks. If no row was chosen, the result may be a view of the input."""
        width = waveform.shape[1] if wanted is None else int(wanted.max())
        rows = np.flatnonzero(draw.chosen)
        if not rows.size:
            return fit(waveform, width)
        if rows.size == len(draw):
            out = self.compute(waveform, draw, None if wanted is None else width)
            return check_computed(type(self).__name__, out, len(draw), width)
        index = to_device(rows, waveform.device)
        part = self.run(waveform.index_select(0, index), draw[rows], None if wanted is None else wanted[rows])
        return fit(waveform, width).clone().index_copy_(0, index, fit(part, width))
