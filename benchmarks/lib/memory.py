"""Measure the resident memory of a process, now and at its peak (Linux only)."""

from contextlib import suppress
from pathlib import Path

from gtzan_stream.errors import UserError

_STATUS = "/proc/{}/status"


def memory_mb(process: int | None = None) -> float:
    """Return the resident memory of a process in MB; by default, of this one."""
    return _field("VmRSS", process)


def peak_mb() -> float:
    """Return the peak of this process's memory since `reset_peak` in MB. (`getrusage` would include the parent's.)"""
    return _field("VmHWM")


def reset_peak() -> None:
    """Reset `peak_mb`, if the kernel allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _field(name: str, process: int | None = None) -> float:
    path = Path(_STATUS.format("self" if process is None else process))
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"memory is read from {path}, which this system does not have: measure on Linux") from None
    line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6
