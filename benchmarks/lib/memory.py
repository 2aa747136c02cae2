"""Resident memory of this process, now and at its peak."""

from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")


def memory_mb() -> float:
    """Resident memory now, in MB."""
    return _field("VmRSS")


def peak_mb() -> float:
    """Peak of the resident memory since `forget_peak`, in MB. (`getrusage` would include the parent's before exec.)"""
    return _field("VmHWM")


def forget_peak() -> None:
    """Reset what `peak_mb` returns, where the kernel allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _field(name: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6
