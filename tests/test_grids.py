"""No kernel exceeds CUDA's limits on a grid, however many rows or samples a batch has."""

from collections.abc import Callable
from importlib import import_module
from math import prod

import pytest
import torch

from tests.conftest import need
from tests.test_kernels import CASES

LIMITS = (2**31 - 1, 65_535, 65_535)  # CUDA's largest numbers of programs along the axes of a grid
ROWS = 70_000


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")  # without memory


def median(m: object, rows: int, n: int) -> None:
    m.median_columns(empty(rows, n, 65), 31, empty(rows, n, 65))


def long_median(m: object, rows: int, n: int) -> None:
    m.median_columns(empty(rows, n, 65), m.LARGEST + 2, empty(rows, n, 65))


def mel(m: object, rows: int, n: int) -> None:
    spectrum, bands = empty(rows, n, 65, dtype=torch.complex64), empty(4, dtype=torch.int32)
    m.mel(spectrum, bands, bands, empty(4, 9), 1.0, 10.0, 0.0, 1.0, empty(rows, 4, n))


def magnitudes(m: object, rows: int, n: int) -> None:
    m.magnitudes(empty(rows, n, 65, dtype=torch.complex64))


def mask(m: object, rows: int, n: int) -> None:
    spectrum, medians = empty(rows, n, 65, dtype=torch.complex64), empty(rows, n, 65)
    m.mask(spectrum, medians, medians, 2.0, 1.0, 0.5, empty(rows, n, 65, dtype=torch.complex64))


def overlap_add(m: object, rows: int, n: int) -> None:
    frames, valid, bounds = empty(rows, 3, 64), empty(1, 3, dtype=torch.bool), empty(rows, 2, dtype=torch.int64)
    m.overlap_add(frames, empty(64), valid, bounds, 16, 32, n)


def resample(m: object, rows: int, n: int) -> None:
    m.resample(empty(rows, 100), empty(4, rows, dtype=torch.float64), 54, 60, n)


def vocode(m: object, rows: int, n: int) -> None:
    spectrum, position = empty(rows, 3, n, dtype=torch.complex64), empty(rows, 3, dtype=torch.float64)
    m.vocode(spectrum, position, empty(rows, 3, n, dtype=torch.complex64))


def noise(m: object, rows: int, n: int) -> None:
    m.normal(empty(rows, 6, dtype=torch.int64), empty(rows, n))


def frames(m: object, rows: int, n: int) -> None:
    m.cut(empty(rows, 64), empty(16), 4, 8, empty(rows, n, 16))


def frames_at(m: object, rows: int, n: int) -> None:
    m.cut_at(empty(rows, 64), empty(16), empty(rows, n, dtype=torch.int64), empty(rows, n, 16))


def slopes(m: object, rows: int, n: int) -> None:
    m.slopes(empty(rows, 2 * n, 9, dtype=torch.complex64))


def turn(m: object, rows: int, n: int) -> None:
    spectra, shifts = empty(rows, 6, n, dtype=torch.complex64), empty(rows, 3, dtype=torch.float64)
    m.turn(spectra, shifts, empty(n), 1e-16, 0.2, empty(rows, 3, n, dtype=torch.complex64))


def roll(m: object, rows: int, n: int) -> None:
    m.roll(empty(rows, n), empty(rows, dtype=torch.int64))


def clear(m: object, rows: int, n: int) -> None:
    m.clear(empty(rows, n + 5), empty(rows, dtype=torch.int64), 5)


def trial(m: object, rows: int, n: int) -> None:
    m.launch(torch.device("meta"))


# module, kernel, a launch with a number of rows and a length, most outputs that one program computes
LAUNCHES = [
    ("triton_median", "_median", median, 16 * 64),
    ("triton_median", "_long_median", long_median, 64 * 128),
    ("triton_mel", "_mel", mel, 64 * 4),
    ("triton_hpss", "_magnitude", magnitudes, 32 * 32),
    ("triton_hpss", "_mask", mask, 512),
    ("triton_stft", "_overlap_add", overlap_add, 512),
    ("triton_resample", "_taps", resample, 2**62),
    ("triton_resample", "_double_rate", resample, 2**62),
    ("triton_resample", "_read", resample, 512),
    ("triton_locked", "_slope", slopes, 1),
    ("triton_locked", "_turn", turn, 2**62),
    ("triton_vocoder", "_vocode", vocode, 3 * 128),
    ("triton_random", "_normal", noise, 1024),
    ("triton_frames", "_cut", frames, 4096),
    ("triton_frames", "_cut_at", frames_at, 4096),
    ("triton_rows", "_roll", roll, 2048),
    ("triton_rows", "_clear", clear, 2048),
    ("triton_trial", "_trial", trial, 2**62),
]


def test_every_kernel_is_here():
    assert {(module, kernel) for module, kernel, *_ in LAUNCHES} == {(module, kernel) for module, kernel, *_ in CASES}


@pytest.mark.parametrize(("rows", "length"), [(ROWS, 40), (1, 256 * ROWS), (ROWS, 2000)])
@pytest.mark.parametrize(("module", "kernel", "launch", "outputs"), LAUNCHES, ids=lambda value: str(value)[:16])
def test_grids_are_within_the_limits(
    module: str, kernel: str, launch: Callable, outputs: int, rows: int, length: int, monkeypatch: pytest.MonkeyPatch
):
    need("triton")
    library, grids = import_module(f"gtzan_stream.kernels.{module}"), []

    class Kernel:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getitem__(self, grid: object) -> Callable:
            if self.name == kernel:
                grids.append(grid if isinstance(grid, tuple) else (grid,))
            return lambda *args, **options: None

    for name in {case[1] for case in CASES if case[0] == module}:
        monkeypatch.setattr(library, name, Kernel(name))
    launch(library, rows, length)
    (grid,) = grids
    assert all(0 < size <= limit for size, limit in zip(grid, LIMITS, strict=False)), grid
    assert prod(grid) * outputs >= (rows * length if module != "triton_trial" else 1)
