"""Choose the device and the number format that a network computes in."""

import os
import platform
import re
from contextlib import AbstractContextManager

import torch
import torch.utils.deterministic

from gtzan_stream.distributed import local_rank_and_size, rank_and_world_size
from gtzan_stream.errors import UserError


def find(name: str) -> torch.device:
    """Return the device called `name`; "auto" is the GPU if there is one, else the CPU.

    With several processes, each gets the GPU with its index on this machine.

    Raises
    ------
    UserError
        If there is no such device here, or fewer GPUs than processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"there is no device {name!r}: choose auto, cpu, cuda, cuda:1...")
    device, n_gpus = torch.device(name), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= n_gpus:
        raise UserError(f"--device {name}: torch sees {n_gpus} GPUs here; choose cpu or auto")
    if device.type == "cpu" or rank_and_world_size()[1] == 1:
        return device
    rank, size = local_rank_and_size()
    if device.index is not None:
        raise UserError(f"--device {name} is one GPU, but torchrun started {size} processes here: choose --device cuda")
    if size > n_gpus:
        raise UserError(
            f"--device {name}: torchrun started {size} processes here, but torch sees {n_gpus} GPUs; choose "
            f"--nproc-per-node {n_gpus}, or --device cpu"
        )
    return torch.device("cuda", rank)


def describe(device: torch.device) -> str:
    """Describe a device, for reports."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.cpu.get_capabilities().get('cpu_name', platform.machine())}, {torch.get_num_threads()} threads"


def precision(wanted: str, device: torch.device) -> str:
    """Return "bf16" or "fp32". "auto" is "bf16" if `device` multiplies it natively.

    CPUs do so with AVX512-BF16 or AMX; on other CPUs, bf16 is emulated.

    Raises
    ------
    UserError
        If "bf16" was asked for and the GPU does not have it.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        if wanted == "bf16" and not native:
            raise UserError("--precision bf16 needs a GPU of compute capability 8.0 or more: choose --precision fp32")
    else:
        capabilities = torch.cpu.get_capabilities()
        native = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return "bf16" if wanted == "bf16" or (wanted == "auto" and native) else "fp32"


def make_repeatable(device: torch.device) -> None:
    """Make a GPU compute the same in every run, so that a resumed run equals an uninterrupted one; CPUs do anyway.

    Convolutions, matrix products and scattered sums then use algorithms that add in a fixed order. If torch has none,
    such as for the gradients of some poolings, it warns, and runs may differ in rounding.
    """
    if device.type != "cuda":
        return
    # Two buffers of a fixed size instead of one for each stream. cuBLAS reads this before the first matrix product.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # would fill each buffer


def autocast(chosen: str, device: torch.device) -> AbstractContextManager:
    """Return a context in which torch computes in "bf16" where autocast allows it, or in "fp32" throughout."""
    return torch.autocast(device.type, torch.bfloat16, enabled=chosen == "bf16")
