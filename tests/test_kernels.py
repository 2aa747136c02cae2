"""Every Triton kernel compiles for an H100, even without a GPU: Triton's interpreter accepts more than its compiler."""

import re
from importlib import import_module
from pathlib import Path

import pytest

import gtzan_stream.kernels
from tests.conftest import need

CASES = [
    ("triton_locked", "_slope", "*i64 *fp32 i32 i32", {"TILES": 4, "LANES": 256}),
    (
        "triton_locked",
        "_turn",
        "*i64 *fp64 *fp32 *fp32 *i64 i32 fp32 fp32",
        {"WIDEST": 8, "LANES": 256},
    ),
    ("triton_vocoder", "_vocode", "*i64 *fp64 *i64 i32 i32 i32", {"FRAMES": 8, "LANES": 128}),
    (
        "triton_stft",
        "_overlap_add",
        "*fp32 *fp32 *u8 *i64 *fp32 i32 i32 i32 i32",
        {"N_FFT": 2048, "HOP": 640, "LANES": 512},
    ),
    ("triton_resample", "_taps", "*fp64 *fp32 i32 i32 fp32", {"TAPS": 128}),
    ("triton_resample", "_double_rate", "*fp32 *fp64 *fp32 *fp32 i32 i32 i32 i32 i32 i32", {"LANES": 512}),
    ("triton_resample", "_read", "*fp32 *fp64 *fp32 *fp32 i32 i32 i32 i32 i32", {"LANES": 512}),
    *(
        (
            "triton_median",
            "_median",
            "*fp32 *fp32 i32 i32",
            {"SIZE": 31, "N": 16, "LANES": 64, "TRANSPOSED": transposed, "IS_SHORT": is_short},
        )
        for transposed in (True, False)
        for is_short in (True, False)
    ),
    ("triton_median", "_long_median", "*fp32 *fp32 i32 i32 i32 i32", {"SIZE": 65, "RUN": 64, "LANES": 128}),
    ("triton_hpss", "_magnitude", "*fp32 *fp32 *fp32 i32 i32", {"TILE": 32}),
    *(
        ("triton_hpss", "_mask", "*fp32 *fp32 *fp32 *fp32 i64 fp32 fp32 fp32", {"SQUARE": square, "LANES": 512})
        for square in (True, False)
    ),
    *(
        (
            "triton_mel",
            "_mel",
            "*i64 *i32 *i32 *fp32 *fp32 i32 i32 i32 i32 fp32 fp32 fp32",
            {"POWER": power, "FRAMES": 64, "BANDS": 16, "BINS": 32, "PRECISION": "tf32x3"},
        )
        for power in (1.0, 1.5, 2.0)
    ),
    ("triton_frames", "_cut_at", "*fp32 *fp32 *i64 *fp32 i32 i32 i32 i32", {"FRAMES": 4, "SAMPLES": 1024}),
    ("triton_frames", "_cut", "*fp32 *fp32 *fp32 i32 i32 i32 i32 i32 i32", {"FRAMES": 4, "SAMPLES": 1024}),
    ("triton_rows", "_roll", "*fp32 *i64 *fp32 i32 i32", {"LANES": 2048}),
    ("triton_rows", "_clear", "*fp32 *i64 i32 i32 i32", {"LANES": 2048}),
    ("triton_trial", "_trial", "*fp32", {}),
    ("triton_random", "_normal", "*i64 *fp32 i32", {"LANES": 256}),
]


@pytest.mark.parametrize(("module", "kernel", "types", "constants"), CASES, ids=lambda case: str(case)[:16])
def test_every_triton_kernel_compiles(module, kernel, types, constants):
    compiler = need("triton.compiler")
    from triton.backends.compiler import GPUTarget

    function = getattr(import_module(f"gtzan_stream.kernels.{module}"), kernel)
    signature = dict(zip(function.arg_names, [*types.split(), *["constexpr"] * len(constants)], strict=True))
    source = compiler.ASTSource(function, signature, constexprs=constants)
    compiled = compiler.compile(source, target=GPUTarget("cuda", 90, 32)).asm
    assert compiled["cubin"]
    assert kernel != "_mel" or "max.NaN.f32" in compiled["ptx"]  # NaN stays NaN; in the interpreter it always does


def test_the_locked_vocoder_reads_four_neighbours_at_once():
    """Each of a thread's two groups of four bins reads eight neighbours on each side, of three numbers: four reads.

    The columns of a group are in the thread that needs them. Only Y is moved to other threads, to be stored in order:
    there are two barriers in the loop, one for that and one for the rotations.
    """
    code = aligned("_turn", import_module("gtzan_stream.kernels.triton_locked").WARPS)["ptx"]
    assert len(re.findall(r"ld\.global\.v4", code)) == 2 * (3 * 4 + 1)  # and the half widths
    assert code.partition(" bra ")[2].count("bar.sync") == 2


def test_every_triton_module_has_a_case():
    folder = Path(gtzan_stream.kernels.__file__).parent
    modules = {path.stem for path in folder.glob("triton_*.py")}
    assert modules == {module for module, *_ in CASES}


def aligned(name: str, num_warps: int, *, numbers: bool = False) -> dict[str, str]:
    """Compile a kernel for pointers, and `numbers`, that are multiples of 16, which Triton notes of arguments."""
    need("triton")
    from triton import compiler
    from triton.backends.compiler import GPUTarget

    module, _, types, constants = next(case for case in CASES if case[1] == name)
    kernel = getattr(import_module(f"gtzan_stream.kernels.{module}"), name)
    signature = dict(zip(kernel.arg_names, [*types.split(), *["constexpr"] * len(constants)], strict=True))
    specialised = [
        param.num for param in kernel.params
        if not (param.is_constexpr or param.do_not_specialize)
        and (signature[param.name].startswith("*") or (numbers and signature[param.name] == "i32"))
    ]  # fmt: skip
    attributes = {(number,): [["tt.divisibility", 16]] for number in specialised}
    source = compiler.ASTSource(kernel, signature, constexprs=constants, attrs=attributes)
    return compiler.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": num_warps}).asm


def test_the_resampler_doubles_the_rate_with_reads_of_four_samples():
    """Inside a row, a thread's four groups of samples are read once, and twice in a pass of the loop of eight taps.

    Columns stay in the thread that needs them: there are barriers only after both loops, to store u in order.
    """
    code = aligned("_double_rate", 4)["ptx"]
    assert len(re.findall(r"ld\.global\.v4", code)) == 4 * (1 + 2)
    assert "bar.sync" not in code[: code.rindex("fma.rn.f32")]


def test_the_resamplers_threads_have_single_samples_at_any_length():
    """With the length as a multiple of 16, which Triton notes of arguments, a thread would have four neighbouring ones.

    Each load of a tap would then touch four times as many cache lines.
    """
    code = aligned("_read", 4, numbers=True)["ttgir"]
    assert re.findall(r"sizePerThread = \[(\d)\]", code) == ["1"]
