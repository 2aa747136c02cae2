"""Running median of a spectrogram, along time or along frequency.

Output i is the median of the `size` values around input i; beyond its ends the axis is mirrored with the edge value
repeated (d c b a | a b c d | d c b a). Neighbouring outputs share most of their values. A sorting network computes 16
neighbours at once: on the CPU where it has vectors (`kernels.lanes_median`), and on CUDA (`kernels.triton_median`).
Otherwise, and for large windows, kernels keep the values sorted and replace one for each output, instead of sorting
`size` values: `size` comparisons instead of ``size * log(size)``, in a loop without branches. `kernels.numba_median`
explains it. A heap would take log(size) steps, but with unpredictable branches, and for one column at a time.

The plain torch version computes each median on its own, and is the reference.
"""

import numpy as np
import torch

from gtzan_stream.dsp.backend import backend, for_rows
from gtzan_stream.dsp.scratch import borrowed
from gtzan_stream.shapes import Magnitude


def median_filter(x: Magnitude, size: int, axis: int) -> Magnitude:
    """Compute the running median, bit for bit that of `scipy.ndimage.median_filter` with ``mode="reflect"``.

    Parameters
    ----------
    x : Tensor [batch, freq, frame]
        A NaN makes medians of windows that contain it undefined; on the CPU without lanes, and on CUDA for windows
        above 63, those behind it, too.
    size : int, odd
        Values per median. It may exceed the axis, which is then mirrored several times.
    axis : int
        1 (or -2) for frequency, 2 (or -1) for time.

    Returns
    -------
    Tensor [batch, freq, frame]

    Raises
    ------
    ValueError
        If `size` is even or not positive, `axis` is neither frequency nor time, or the axis is empty.

    Examples
    --------
    >>> median_filter(torch.tensor([[[0.0, 0.0, 9.0, 0.0, 1.0]]]), 3, axis=2)  # removes a click
    tensor([[[0., 0., 0., 1., 1.]]])
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be odd and positive, got {size}")
    if axis not in (1, 2, -1, -2):
        raise ValueError(f"axis must be 1 (frequency) or 2 (time), got {axis}")
    if x.shape[axis] == 0:
        raise ValueError(f"the median needs at least one value along axis {axis}, got shape {tuple(x.shape)}")
    along_time = axis in (2, -1)
    name = backend(x)
    if name == "numba":
        out = torch.empty_like(x)
        planes, results = (t.transpose(1, 2).numpy() if along_time else t.numpy() for t in (x.detach(), out))
        for_rows(lambda i: _median_columns(planes[i], size, results[i]), len(x))
        return out
    if name == "triton":
        from gtzan_stream.kernels import triton_median

        columns = (x.transpose(1, 2) if along_time else x).contiguous()
        out = x.new_empty(x.shape)
        triton_median.median_columns(columns, size, out.transpose(1, 2) if along_time else out)
        return out
    return _median(x, size, axis)


def _median_columns(x: np.ndarray, size: int, out: np.ndarray) -> None:
    """Fill `out` with the running median along axis 0 of float32 [n, m]."""
    from gtzan_stream.kernels.lanes import lanes

    if lanes() and (out.flags.c_contiguous or out.flags.f_contiguous):
        from gtzan_stream.kernels import lanes_median

        if size <= lanes_median.LARGEST:
            with borrowed(lanes_median.scratch_size(x.shape, size), np.float32) as memory:
                lanes_median.median_columns(x, size, memory, out)
            return
    from gtzan_stream.kernels import numba_median

    numba_median.median_columns(x, size, out)


def _median(x: torch.Tensor, size: int, axis: int) -> torch.Tensor:
    """`median_filter` in plain torch."""
    n, half = x.shape[axis], size // 2
    index = torch.arange(-half, n + half, device=x.device) % (2 * n)  # the mirrored axis has period 2 n
    padded = x.index_select(axis, torch.minimum(index, 2 * n - 1 - index))
    return padded.unfold(axis, size, 1).median(-1).values
