"""Checks of the numbers that people pass in."""

import operator

from gtzan_stream.errors import UserError
from gtzan_stream.words import short_repr

MOST = 2**31 - 1
SEEDS = 2**63 - 1


def checked_int(name: str, value: object, least: int = 0, most: int = MOST) -> int:
    """An argument as an int, whatever library made the number.

    Raises
    ------
    UserError
        If it is not a whole number, or not within `least` and `most`.

    >>> checked_int("batch_size", 16, least=1)
    16
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, bool):
        raise UserError(f"{name} must be a whole number, got {short_repr(value)}") from None
    if number < least:
        raise UserError(f"{name} must be at least {least}, got {number}")
    if number > most:
        raise UserError(f"{name} must be at most {most}, got {short_repr(number)}")
    return number
