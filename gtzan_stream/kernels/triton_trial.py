"""A kernel that does almost nothing, to find out whether Triton can compile and launch kernels at all."""

from typing import no_type_check

import torch
import triton
import triton.language as tl


@triton.jit
@no_type_check
def _trial(out):
    tl.store(out + tl.program_id(0), 1.0)


@no_type_check
def launch(device: torch.device) -> None:
    """Launch the kernel on `device`, without waiting for it.

    Raises
    ------
    Exception
        If the kernel cannot be compiled or launched. Triton raises errors of many types: RuntimeError without a C
        compiler, OSError without a folder that it can write, and others.
    """
    out = torch.empty(1, device=device)
    with torch.cuda.device_of(out):
        _trial[(1,)](out)
