"""Ranges of random parameters: check them when a transform is built, and draw from them."""

import math
from collections.abc import Callable

import numpy as np


def check_range(
    owner: str, name: str, low: float | int, high: float | int, rule: str, valid: Callable[[float], bool]
) -> None:
    """Raise ValueError unless both ends are finite and valid, and ``low <= high``."""
    if not (-math.inf < low <= high < math.inf and valid(low) and valid(high)):
        raise ValueError(
            f"{owner}: expected min_{name} <= max_{name}, both {rule}, got min_{name}={low}, max_{name}={high}"
        )


def between(low: float | int, high: float | int, uniform: np.ndarray) -> np.ndarray:
    """Map `uniform` numbers in [0, 1) to low..high."""
    return low + (high - low) * uniform
