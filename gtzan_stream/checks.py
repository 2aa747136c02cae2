"""Checks of the numbers that people pass in."""

import operator

from gtzan_stream.errors import UserError
from gtzan_stream.words import brief


def whole(name: str, value: object, least: int = 0) -> int:
    """An argument as an int, whatever library made the number.

    Raises
    ------
    UserError
        If it is not a whole number, or less than `least`.

    >>> whole("batch_size", 16, least=1)
    16
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, bool):
        raise UserError(f"{name} must be a whole number, got {brief(value)}") from None
    if number < least:
        raise UserError(f"{name} must be at least {least}, got {number}")
    return number
