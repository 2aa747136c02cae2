"""Checks of a transform's range, made where it is built."""

from collections.abc import Callable

import numpy as np


def check_range(
    owner: str, name: str, low: float | int, high: float | int, rule: str, valid: Callable[[float], bool]
) -> None:
    """Raise ValueError unless both ends are finite and valid, and ``low <= high``."""
    if not (np.isfinite(low) and np.isfinite(high) and low <= high and valid(low) and valid(high)):
        raise ValueError(
            f"{owner}: expected min_{name} <= max_{name}, both {rule}, got min_{name}={low}, max_{name}={high}"
        )


def between(low: float | int, high: float | int, uniform: np.ndarray) -> np.ndarray:
    """Numbers in low..high from `uniform` numbers in [0, 1)."""
    return low + (high - low) * uniform
