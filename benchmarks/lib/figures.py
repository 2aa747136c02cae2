"""Format numbers and findings for reports."""

from typing import Any


def count(value: float) -> str:
    """Format a whole number with commas: ``12,345``."""
    return f"{value:,.0f}"


def scientific(error: float | None) -> str:
    """Format with one digit and a power of ten, ``2e-07``; "" without a value."""
    return "" if error is None else f"{error:.0e}"


def milliseconds(value: float) -> str:
    """Format with three digits: ``123``, ``12.3``, ``1.23``, ``0.123``."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f}"


def ratio(value: float) -> str:
    """Format with two digits, or with all digits before the point: ``0.52``, ``3.1``, ``12``, ``945``."""
    return f"{value:.{2 if value < 1 else 1 if value < 10 else 0}f}"


def flatness(found: dict[str, Any]) -> str:
    """Say whether memory and speed stayed flat over a long run, from the result of `soak.flatness`."""
    memory = "flat" if found["memory_is_flat"] else "NOT flat"
    speed = "flat" if found["speed_is_flat"] else "NOT flat"
    outside = f", on the GPU outside of torch {found['outside_growth']:+.1%}" if found.get("outside_growth") else ""
    return (
        f"From the first tenth to the last, memory is {memory} (host {found['host_growth']:+.1%}, device "
        f"{found['device_growth']:+.1%}{outside}), speed is {speed} "
        f"({found['last_rate_over_first']:.2f} times the first)."
    )
