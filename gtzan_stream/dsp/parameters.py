"""Parameters with one value for each example: host arrays, checked on the host, sent to the device without waiting."""

import numpy as np
import torch


def per_example(values: np.ndarray | float | None, batch: int, name: str, *, positive: bool = True) -> np.ndarray:
    """Give the float64 array [batch] that `values` stands for.

    Parameters
    ----------
    values : array [batch], number or None
        One value for each example, or one for all of them; None is zero.
    batch : int
        How many examples there are.
    name : str
        What to call the parameter in an error.
    positive : bool
        Whether only values above zero make sense.

    Raises
    ------
    ValueError
        If there are neither one nor `batch` values, or one is not finite, or not above zero where it must be.
    """
    array = np.asarray(0.0 if values is None else values, dtype=np.float64)
    if array.shape not in ((), (batch,)):
        raise ValueError(f"{name}: expected one value for each of {batch} examples, got an array of {array.shape}")
    if not np.isfinite(array).all() or (positive and (array <= 0).any()):
        rule = "finite and above zero" if positive else "finite"
        raise ValueError(f"{name}: every value must be {rule}, got {array.tolist()}")
    return np.broadcast_to(array, (batch,))


def cuda_stream_id(device: torch.device) -> int:
    """Current CUDA stream id, a cache key: cached tensors are per stream, as streams do not wait for each other."""
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0


def to_device(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy a host array to `device`; to CUDA from pinned memory, so that the host does not wait."""
    tensor = torch.from_numpy(np.ascontiguousarray(values).copy())
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
