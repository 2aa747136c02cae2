"""Check the arguments that people pass in."""

import math
import operator

import torch

from gtzan_stream.errors import UserError, first_line
from gtzan_stream.words import short_repr

MAX_INT = 2**31 - 1
MAX_SEED = 2**63 - 1


def checked_int(name: str, value: object, minimum: int = 0, maximum: int = MAX_INT) -> int:
    """Convert an argument to int. Whole numbers of numpy and torch are accepted too.

    Raises
    ------
    UserError
        If it is not a whole number, or not in ``minimum .. maximum``.

    >>> checked_int("batch_size", 16, minimum=1)
    16
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, bool):
        raise UserError(f"{name} must be a whole number, got {short_repr(value)}")
    if number < minimum:
        raise UserError(f"{name} must be at least {minimum}, got {number}")
    if number > maximum:
        raise UserError(f"{name} must be at most {maximum}, got {short_repr(number)}")
    return number


def checked_number(name: str, value: object, minimum: float = 0.0) -> float:
    """Convert an argument to float.

    Raises
    ------
    UserError
        If it is not a finite number of at least `minimum`.

    >>> checked_number("mixup", 1)
    1.0
    """
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool | str) or not math.isfinite(number) or number < minimum:
        raise UserError(f"{name} must be a finite number of at least {minimum:g}, got {short_repr(value)}")
    return number


def checked_device(device: object) -> torch.device:
    """Convert an argument to a device of torch.

    Raises
    ------
    UserError
        If torch knows no such device, or cannot use it here.

    >>> checked_device("cpu")
    device(type='cpu')
    """
    try:
        found = torch.device(device)  # type: ignore[call-overload]
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, AssertionError) as error:  # an AssertionError: torch was built without CUDA
        remedy = "choose a device that torch has here, such as 'cpu'"
        raise UserError(f"device {short_repr(device)} cannot be used here ({first_line(error)}): {remedy}") from error
    return found
