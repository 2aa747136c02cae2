"""Parameters with one value for each example: checked on the host, copied to the device without waiting for it."""

import numpy as np
import torch

STAGED_BYTES = 64 << 10
"""Bytes that CUDA copies from ordinary memory without making the host wait for the GPU."""


def per_example(values: np.ndarray | float | None, batch: int, name: str, *, positive: bool = True) -> np.ndarray:
    """Check a parameter and broadcast it to float64 [batch].

    Parameters
    ----------
    values : array [batch], number or None
        One value for each example, or one for all of them; None means 0.
    batch : int
        Number of examples.
    name : str
        Name of the parameter, for errors.
    positive : bool
        Whether values must be above zero.

    Raises
    ------
    ValueError
        If the number of values is neither 1 nor `batch`, or a value is not finite or, with `positive`, not above zero.
    """
    array = np.asarray(0.0 if values is None else values, dtype=np.float64)
    if array.shape not in ((), (batch,)):
        raise ValueError(f"{name}: expected one value for each of {batch} examples, got an array of {array.shape}")
    if not np.isfinite(array).all() or (positive and (array <= 0).any()):
        rule = "finite and above zero" if positive else "finite"
        raise ValueError(f"{name}: every value must be {rule}, got {array.tolist()}")
    return np.broadcast_to(array, (batch,))


def cuda_stream_id(device: torch.device) -> int:
    """Return the current CUDA stream's id, or 0 on the CPU, as a cache key.

    Tensors are cached for each stream, as one stream may use a tensor before another has finished computing it.
    """
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0


def to_device(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy an array to `device`, without waiting for a GPU.

    CUDA copies up to 64 KiB into memory of its own before it returns, in half the time that pinning them takes.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(values).copy())
    if device.type == "cuda" and tensor.nbytes > STAGED_BYTES:
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=device.type == "cuda")  # others might read it after it is freed
