"""The cache of compiled kernels: damaged files, other internals of numba, old folders, and what is logged."""

import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, no_type_check

import numba
import numpy as np
import pytest

from gtzan_stream.kernels import cache, code_files
from gtzan_stream.kernels.compiled import compiled

KEPT = "the CPU kernels are compiled in each process, as they cannot be kept: "
COMPILING = "compiling the CPU kernels, once for this machine"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """The folder of an empty cache, as if this process had neither compiled nor logged anything."""
    folder = tmp_path / "kernels" / "numba0-lanes0"
    monkeypatch.setattr(cache, "folder_for", lambda *platform: folder)
    monkeypatch.setattr(cache, "_logged", set())
    monkeypatch.setattr(cache, "_compiled_s", 0.0)
    monkeypatch.setattr(cache, "LONG_S", 1e6)
    for name in ("mark_used", "remove_unused"):
        monkeypatch.setattr(cache, name, functools.cache(getattr(cache, name).__wrapped__))
    caplog.set_level(logging.INFO, logger="gtzan_stream.kernels")
    return folder


def times(factor: int) -> Callable[..., Any]:
    """Return a kernel as a new process has it, with nothing in memory. It encloses a number, as no real kernel does."""

    @compiled()
    @no_type_check
    def kernel(x):
        return x * factor

    return kernel


def compilations(kernel: Any) -> int:
    return sum(kernel.stats.cache_misses.values())


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*")) if folder.exists() else []


def test_a_kernel_is_compiled_once(folder: Path, caplog: pytest.LogCaptureFixture):
    first, second = times(3), times(3)
    assert (first(5), second(5)) == (15, 15)
    assert (compilations(first), compilations(second)) == (1, 0)
    assert [path.name.partition("-")[0] for path in files(folder)] == ["test_kernel_cache.times._locals_.kernel"]
    assert not caplog.messages


def test_other_signatures_and_enclosed_values_are_other_kernels(folder: Path):
    assert [times(3)(5), times(4)(5), times(3)(0.5), times(4)(0.5)] == [15, 20, 1.5, 2.0]
    assert len(files(folder)) == 4
    again = times(4)
    assert (again(5), again(0.5), compilations(again)) == (20, 2.0, 0)


def test_other_options_of_the_compiler_are_other_kernels(folder: Path):
    @no_type_check
    def is_nan(x):
        return x != x

    options = [{}, {"fastmath": {"nnan", "contract", "arcp"}}, {}, {"fastmath": {"arcp", "contract", "nnan"}}]
    kernels = [compiled(**each)(is_nan) for each in options]
    assert [kernel(np.nan) for kernel in kernels] == [True, False, True, False]
    assert [compilations(kernel) for kernel in kernels] == [1, 1, 0, 0]


@pytest.mark.parametrize("bodies", [("x * 3", "x * 4"), ("abs(x)", "bool(x)")], ids=["constants", "names"])
def test_functions_with_the_same_bytecode_are_other_kernels(bodies: tuple[str, str], folder: Path):
    kernels = []
    for body in (*bodies, *bodies):
        namespace: dict[str, Any] = {"__name__": __name__}
        exec(f"def kernel(x):\n    return {body}", namespace)
        kernels.append(compiled()(namespace["kernel"]))
    assert len({kernel.py_func.__code__.co_code for kernel in kernels}) == 1
    assert [kernel(-5) for kernel in kernels] == [eval(body, {"x": -5}) for body in (*bodies, *bodies)]
    assert [compilations(kernel) for kernel in kernels] == [1, 1, 0, 0]


def calls(callee: Any) -> Callable[..., Any]:
    @compiled()
    @no_type_check
    def kernel(x):
        return callee(x)

    return kernel


def test_enclosed_kernels_are_compared_by_what_they_compute(folder: Path):
    assert [calls(times(3))(5), calls(times(4))(5)] == [15, 20]
    again = calls(times(3))
    assert (again(5), compilations(again)) == (15, 0)


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


DAMAGE = {
    "empty": lambda data: b"",
    "a part of the checksum": lambda data: data[:20],
    "only the checksum": lambda data: data[:32],
    "cut": lambda data: data[:-1],
    "random bytes": lambda data: np.random.default_rng(0).bytes(len(data)),
    "zeros": lambda data: bytes(len(data)),
    "a wrong bit in the checksum": lambda data: flip(data, 0),
    "a wrong bit in the machine code": lambda data: flip(data, len(data) // 2),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_compiled_again(
    damage: Callable[[bytes], bytes], folder: Path, caplog: pytest.LogCaptureFixture
):
    times(3)(5)
    (path,) = files(folder)
    path.write_bytes(damage(path.read_bytes()))
    second, third = times(3), times(3)
    assert (second(5), compilations(second)) == (15, 1)
    assert caplog.messages == [f"{path} is damaged; the kernel is compiled again"]
    assert (third(5), compilations(third)) == (15, 0)
    assert files(folder) == [path]


def test_valid_bytes_that_are_no_kernel_are_compiled_again(folder: Path, caplog: pytest.LogCaptureFixture):
    times(3)(5)
    (path,) = files(folder)
    code_files.write(path, b"not a pickle")
    second, third = times(3), times(3)
    assert (second(5), third(5), compilations(second), compilations(third)) == (15, 15, 1, 0)
    assert len(caplog.messages) == 1


RENAMED = [
    "numba.core.compiler.CompileResult._rebuild",
    "numba.core.compiler.CompileResult._reduce",
    "numba.core.codegen.CPUCodegen.magic_tuple",
    "numba.core.codegen.CodeLibrary.has_dynamic_globals",
    "numba.core.serialize.dumps",
]


@pytest.mark.parametrize("name", RENAMED)
def test_kernels_are_compiled_without_a_cache_if_numba_renames_its_internals(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    times(3)(5)
    monkeypatch.delattr(name)
    one, other = times(3), times(4)
    assert (one(5), other(5)) == (15, 20)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(KEPT)
    assert cache._announce_later() is None  # the line has said that they are compiled


@pytest.mark.parametrize("lacks", ["_cache", "load_overload", "save_overload"])
def test_kernels_are_compiled_without_a_cache_if_numba_has_another_place_for_it(
    lacks: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def compile_(function: Callable[..., Any]) -> Any:
        kernel: Any = functools.partial(function)
        if lacks != "_cache":
            methods = {"load_overload", "save_overload"} - {lacks}
            kernel._cache = SimpleNamespace(**dict.fromkeys(methods, print))
        return kernel

    monkeypatch.setattr(numba, "njit", lambda **options: compile_)
    assert (times(3)(5), times(4)(5)) == (15, 20)
    (message,) = caplog.messages
    assert message.startswith(KEPT)
    assert message.endswith(f"has no attribute '{lacks}'")


def test_a_kernel_with_addresses_of_this_process_is_not_kept(folder: Path, caplog: pytest.LogCaptureFixture):
    large = np.ones(200_000)

    @compiled()
    @no_type_check
    def kernel(i):
        return large[i]

    assert kernel(3) == 1
    assert not files(folder)
    assert caplog.messages == [f"{KEPT}kernel contains addresses of this process"]


def test_an_edit_while_a_process_runs_is_not_taken_for_the_code_that_it_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache, "SOURCES", "the digest before the edit")
    assert times(3)(5) == 15
    assert not files(folder)


def test_a_folder_that_is_used_is_not_removed(folder: Path, monkeypatch: pytest.MonkeyPatch):
    times(3)(5)
    unused, new = folder.with_name("numba1-lanes0"), folder.with_name("numba2-lanes0")
    unused.mkdir()
    for path in (folder, unused):
        os.utime(path, (time.time() - 31 * 24 * 3600,) * 2)
    times(3)(5)  # only loads
    monkeypatch.setattr(cache, "folder_for", lambda *platform: new)
    cache.remove_unused.cache_clear()  # as in a new process
    times(3)(5)
    assert sorted(folder.parent.iterdir()) == [folder, new]


def compile_until(event: threading.Event, kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the compilation of a kernel last until an event."""
    compile_ = kernel._compiler.compile

    def wait(*arguments: Any) -> Any:
        assert event.wait(60), "nothing was logged"
        return compile_(*arguments)

    monkeypatch.setattr(kernel._compiler, "compile", wait)


def test_a_long_compilation_is_announced_while_it_lasts_and_only_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    one, two, three = times(1), times(2), times(3)
    one(5)
    assert cache._compiled_s > 0  # the times of several kernels add up
    assert not caplog.messages
    monkeypatch.setattr(cache, "_compiled_s", 1e6)
    logged = threading.Event()
    monkeypatch.setattr(caplog.handler, "emit", lambda record: (messages.append(record.getMessage()), logged.set()))
    messages: list[str] = []
    compile_until(logged, two, monkeypatch)
    assert (two(5), three(5), messages) == (10, 15, [COMPILING])
    assert "gtzan-stream-compiling" not in {thread.name for thread in threading.enumerate()}


def test_loading_is_not_announced(folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    times(3)(5)
    monkeypatch.setattr(cache, "_announce_later", lambda: pytest.fail("announced"))
    assert times(3)(5) == 15
    assert not caplog.messages
