"""Switch TF32 off for a block of code, while other threads may do the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from gtzan_stream.threads import fork_safe_lock

_lock = fork_safe_lock()
_n_blocks = 0  # blocks that are being computed, in all threads
_previous: list[str] = []  # the process's settings before the first of them


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute convolutions and matrix products on CUDA without TF32, for as long as the block lasts.

    Torch has these settings for the process, not for a thread. If blocks overlap, the first one to begin switches TF32
    off, and the last one to end restores the settings; what other threads compute in between has no TF32 either. A
    setting that was changed in the meantime is left as it is. Code traced by torch.compile runs later, so there the
    process's settings hold.
    """
    if device.type != "cuda" or torch.compiler.is_compiling():
        yield
        return
    _begin()
    try:
        yield
    finally:
        _end()


def _begin() -> None:
    global _n_blocks
    with _lock:
        _n_blocks += 1
        if _n_blocks == 1:
            _previous[:] = [setting.fp32_precision for setting in _settings()]
            for setting in _settings():
                setting.fp32_precision = "ieee"


def _end() -> None:
    global _n_blocks
    with _lock:
        _n_blocks -= 1
        if _n_blocks == 0:
            for setting, precision in zip(_settings(), _previous, strict=True):
                if setting.fp32_precision == "ieee":
                    setting.fp32_precision = precision


def _settings() -> tuple[Any, Any]:
    return torch.backends.cudnn.conv, torch.backends.cuda.matmul  # type: ignore[attr-defined]
