"""The cache of compiled kernels: damaged files, other internals of numba, old folders, and what is logged."""

import functools
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, no_type_check

import numba
import numpy as np
import pytest

from gtzan_stream.kernels import cache
from gtzan_stream.kernels.compiled import compiled

DAY_S = 24 * 3600
KEPT = "the CPU kernels are compiled in each process, as they cannot be kept: "
COMPILING = "compiling the CPU kernels, once for this machine"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    """The folder of an empty cache, as if this process had neither compiled nor logged anything."""
    folder = tmp_path / "kernels" / "numba0-lanes0"
    monkeypatch.setattr(cache, "cache_folder", lambda *platform: folder)
    monkeypatch.setattr(cache, "_logged", set())
    monkeypatch.setattr(cache, "_compiled_s", 0.0)
    monkeypatch.setattr(cache, "LONG_S", 1e9)
    for name in ("_mark_used", "_remove_unused"):
        monkeypatch.setattr(cache, name, functools.cache(getattr(cache, name).__wrapped__))
    caplog.set_level(logging.INFO, logger=cache.__name__)
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
    cache._write(path, b"not a pickle")
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


def test_kernels_are_compiled_without_a_cache_if_numba_has_another_place_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(numba, "njit", lambda **options: functools.partial)
    assert (times(3)(5), times(4)(5)) == (15, 20)
    assert caplog.messages == [f"{KEPT}'functools.partial' object has no attribute '_cache'"]


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


def test_a_package_without_source_files_has_no_cache(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache, "SOURCES", "")
    with pytest.raises(LookupError, match="source files"):
        cache.cache_folder.__wrapped__("x86_64", "znver4", "+avx2")


@pytest.mark.parametrize("name", ["OPT", "BOUNDSCHECK", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT"])
def test_settings_of_numba_that_change_the_code_are_another_folder(name: str, monkeypatch: pytest.MonkeyPatch):
    folder = cache.cache_folder.__wrapped__
    before = folder("x86_64", "znver4", "+avx2")
    monkeypatch.setattr(numba.config, name, 1)
    one = folder("x86_64", "znver4", "+avx2")
    monkeypatch.setattr(numba.config, name, 2)
    assert one != folder("x86_64", "znver4", "+avx2") != before
    assert one.parent == before.parent


def test_the_platform_and_numpy_are_part_of_the_digest(monkeypatch: pytest.MonkeyPatch):
    folder = cache.cache_folder.__wrapped__
    names = [folder(platform, "generic", "").name for platform in ("x86_64-linux", "x86_64-darwin")]
    monkeypatch.setattr(np, "__version__", "0")
    names.append(folder("x86_64-linux", "generic", "").name)
    assert len(set(names)) == 3


def test_only_folders_that_nobody_used_for_a_month_are_removed(folder: Path):
    parent, outside = folder.parent, folder.parent.parent / "outside"
    for path in (parent / "numba1-lanes0", parent / "numba2-lanes8", parent / "other", outside):
        path.mkdir(parents=True)
        (path / "x.kernel").write_bytes(b"x")
    (parent / "numba3-lanes0").symlink_to(outside)
    (parent / "numba4-lanes0").write_bytes(b"a file")
    now = time.time()
    for name in ("numba1-lanes0", "other", "numba4-lanes0", "../outside"):
        os.utime(parent / name, (now - 31 * DAY_S,) * 2)
    os.utime(parent / "numba2-lanes8", (now - 29 * DAY_S,) * 2)
    times(3)(5)
    left = sorted(path.name for path in parent.iterdir())
    assert left == ["numba0-lanes0", "numba2-lanes8", "numba3-lanes0", "numba4-lanes0", "other"]
    assert (outside / "x.kernel").exists()


def test_a_folder_that_is_used_is_not_removed(folder: Path, monkeypatch: pytest.MonkeyPatch):
    times(3)(5)
    os.utime(folder, (time.time() - 31 * DAY_S,) * 2)
    times(3)(5)  # only loads
    monkeypatch.setattr(cache, "cache_folder", lambda *platform: folder.with_name("numba9-lanes0"))
    monkeypatch.setattr(cache, "_remove_unused", cache._remove_unused.__wrapped__)
    times(3)(5)
    assert len(files(folder)) == len(files(folder.with_name("numba9-lanes0"))) == 1


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
    assert not caplog.messages
    monkeypatch.setattr(cache, "LONG_S", cache._compiled_s)  # time of several kernels adds up
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
