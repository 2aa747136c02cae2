"""Transform: what every augmentation shares. Draw on the host, ask for the input it needs, apply on any device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gtzan_stream.augment.draw import Draw, Keys, Samples, Source
from gtzan_stream.dsp.backend import for_rows
from gtzan_stream.dsp.parameters import to_device
from gtzan_stream.shapes import Waveform


class Transform(nn.Module):
    """An augmentation of a batch of waveforms, with its own parameters for each example.

    A subclass says what it draws (`parameters`), how it computes the rows that were chosen (`compute`), and, where
    output does not come from the same samples of the input, what it needs (`window`) and how fast time runs
    (`rates`).

    Parameters
    ----------
    p : float in 0..1
        The probability that an example is transformed.
    """

    def __init__(self, *, p: float = 1.0) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: expected 0 <= p <= 1, got p={p}")
        self.p = float(p)

    # What a subclass says.

    def parameters_of(self, samples: Samples, path: str) -> dict[str, np.ndarray]:
        """Draw the values, each float64 [batch], from streams whose names begin with `path`."""
        return {}

    def window(self, length: np.ndarray, draw: Draw) -> Source:
        """As `source`, for rows all of which are chosen."""
        return Source(np.zeros_like(length), length)

    def rates(self, draw: Draw) -> np.ndarray:
        """As `speed`, for rows all of which are chosen."""
        return np.ones(len(draw))

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        """Transform rows all of which are chosen, without writing to them.

        With `length`, the rows are the windows that `window` asks for and the result is `length` samples long, the
        rest of a shorter row being of no interest; without, they are whole and the result is as long as the input.
        """
        raise NotImplementedError

    # What everybody calls.

    def draw(
        self, keys: Keys, *, seed: int = 0, epoch: int = 0, crops: Sequence[int] | np.ndarray | None = None
    ) -> Draw:
        """Draw the parameters of each example, on the host.

        They depend on seed, epoch, key and crop index only: not on the batch, its order, or any global state.

        Parameters
        ----------
        keys : sequence of str, or uint64 array of their hashes
            The clips.
        seed, epoch : int
            Another epoch is another draw.
        crops : integers [batch], optional
            Which crop of its clip each example is; 0 by default.
        """
        return self.draw_for(Samples.of(keys, seed=seed, epoch=epoch, crops=crops), type(self).__name__)

    def draw_for(self, samples: Samples, path: str) -> Draw:
        """Draw under the name `path`, which says where in a chain this transform stands."""
        return Draw(
            name=type(self).__name__,
            chosen=self.choose(samples, path),
            values=self.parameters_of(samples, path),
            stream=samples.stream(f"{path}.noise"),
            key_hash=samples.key_hash,
            crops=samples.crops,
            keys=samples.keys,
        )

    def choose(self, samples: Samples, path: str) -> np.ndarray:
        """Bool [batch]: which examples are transformed."""
        if self.p in (0.0, 1.0):
            return np.full(len(samples.key_hash), self.p == 1.0)
        return samples.uniform(f"{path}.chosen") < self.p

    def source(self, length: int | np.ndarray, draw: Draw) -> Source:
        """The input that `apply` needs to fill `length` samples of output, for each example.

        Parameters
        ----------
        length : int or int64 [batch]
            Output samples.
        draw : Draw
            What `draw` returned.

        Returns
        -------
        Source
            ``before`` and ``length``, int64 [batch]; (0, length) for an example that was not chosen.
        """
        wanted = np.broadcast_to(np.asarray(length, dtype=np.int64), len(draw))
        if draw.chosen.all():
            return self.window(wanted, draw)
        before, needed = np.zeros_like(wanted), wanted.copy()
        rows = np.flatnonzero(draw.chosen)
        if rows.size:
            window = self.window(wanted[rows], draw[rows])
            before[rows], needed[rows] = window.before, window.length
        return Source(before, needed)

    def speed(self, draw: Draw) -> np.ndarray:
        """Input samples that pass for each output sample, float64 [batch].

        Output sample o shows what happens ``o * speed`` input samples after what output sample 0 shows, to a sample.
        """
        speed = np.ones(len(draw))
        rows = np.flatnonzero(draw.chosen)
        if rows.size:
            speed[rows] = self.rates(draw[rows])
        return speed

    def apply(  # type: ignore[override]
        self, waveform: Waveform, draw: Draw, length: int | np.ndarray | None = None
    ) -> Float[Tensor, "batch filled"]:
        """Transform the examples that were chosen and copy the others.

        Parameters
        ----------
        waveform : Tensor [batch, time], float32 or float64
            Samples, full scale at +/-1. Not modified.
        draw : Draw
            What `draw` returned for these examples.
        length : int or int64 [batch], optional
            Without it, rows are whole examples, and the output is cut or zero-padded to their length. With it, row i
            holds, from column 0, the ``source(length, draw).length[i]`` samples that `source` asks for.

        Returns
        -------
        Tensor [batch, time]
            Same dtype and device. With `length`, as wide as the longest, and row i is valid in ``:length[i]``.

        Raises
        ------
        ValueError
            If the waveform holds another number of examples than the draw, or too few samples.
        TypeError
            If it is neither float32 nor float64.
        """
        self._check(waveform, draw)
        if length is None:
            wanted = needed = None
            width = waveform.shape[1]
        else:
            wanted = np.broadcast_to(np.asarray(length, dtype=np.int64), len(draw))
            needed = self.source(wanted, draw).length
            width = int(wanted.max(initial=0))
            if waveform.shape[1] < needed.max(initial=0):
                raise ValueError(
                    f"{type(self).__name__}: expected windows of {needed.max()} samples, got {waveform.shape[1]}; "
                    "read as many as source(length, draw) says"
                )
        if not len(draw) or not width:
            return waveform.new_zeros(len(draw), width)
        if waveform.device.type == "cpu" and not waveform.requires_grad:
            return self._apply_rows(waveform, draw, wanted, needed, width)
        return self._apply_batch(waveform, draw, wanted, needed)

    def forward(self, waveform: Waveform, keys: Keys, *, seed: int = 0, epoch: int = 0) -> Waveform:
        """Draw for `keys` and apply to their waveforms: a plain batch, as long after as before."""
        return self.apply(waveform, self.draw(keys, seed=seed, epoch=epoch))

    def run(self, waveform: Tensor, draw: Draw, wanted: np.ndarray | None) -> Tensor:
        """`apply` without checks; the result may be a view of the input where nothing was chosen."""
        width = waveform.shape[1] if wanted is None else int(wanted.max())
        rows = np.flatnonzero(draw.chosen)
        if not rows.size:
            return fit(waveform, width)
        if rows.size == len(draw):
            return self.compute(waveform, draw, None if wanted is None else width)
        index = to_device(rows, waveform.device)
        part = self.run(waveform.index_select(0, index), draw[rows], None if wanted is None else wanted[rows])
        return fit(waveform, width).clone().index_copy_(0, index, fit(part, width))

    def _apply_rows(
        self, waveform: Tensor, draw: Draw, wanted: np.ndarray | None, needed: np.ndarray | None, width: int
    ) -> Tensor:
        """Each row alone and at its own length, so that a result never depends on the rest of the batch."""
        out = waveform.new_empty(len(draw), width)

        def one(row: int) -> None:
            own = slice(row, row + 1)
            if wanted is None or needed is None:
                out[own] = self.run(waveform[own], draw[own], None)
            else:
                out[own, : wanted[row]] = self.run(waveform[own, : needed[row]], draw[own], wanted[own])
                out[own, wanted[row] :] = 0

        for_rows(one, len(draw))
        return out

    def _apply_batch(
        self, waveform: Tensor, draw: Draw, wanted: np.ndarray | None, needed: np.ndarray | None
    ) -> Tensor:
        """All rows at once, side by side at the width of the longest."""
        if needed is not None:
            waveform = _blank_after(waveform[:, : needed.max()], needed)
        out = self.run(waveform, draw, wanted)
        return out.clone() if out.untyped_storage().data_ptr() == waveform.untyped_storage().data_ptr() else out

    def _check(self, waveform: Tensor, draw: Draw) -> None:
        if waveform.ndim != 2 or len(waveform) != len(draw):
            raise ValueError(
                f"{type(self).__name__}: expected a waveform [batch, time] for a draw of {len(draw)} examples, "
                f"got shape {tuple(waveform.shape)}"
            )
        if waveform.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"{type(self).__name__}: expected float32 or float64, full scale at +/-1, got {waveform.dtype}"
            )


def fit(waveform: Tensor, width: int) -> Tensor:
    """Cut, or pad with zeros at the end, to `width` samples; a view where nothing is missing."""
    missing = width - waveform.shape[1]
    return nn.functional.pad(waveform, (0, missing)) if missing > 0 else waveform[:, :width]


def _blank_after(waveform: Tensor, length: np.ndarray) -> Tensor:
    """Zeros from sample ``length[i]`` of row i on, whatever a reader left there."""
    if (length == waveform.shape[1]).all():
        return waveform
    end = to_device(length, waveform.device)
    valid = torch.arange(waveform.shape[1], device=waveform.device) < end[:, None]  # [batch, time]
    return waveform.where(valid, waveform.new_zeros(()))
