"""The cache of compiled kernels: each is compiled once for a machine, and loaded by later processes.

numba's own cache (``cache=True``) compiles a function again when its file changes, but not when a function changes that
it calls in another file, nor when the number of SIMD lanes changes. Two processes that compile different signatures of
a function at the same time can take each other's file there, and a wrong byte in a file can crash the process. So
kernels have a cache of their own. It needs only what numba's cache needs of numba: a place in the dispatcher, and a
compiled function as bytes.

**Files.** A folder belongs to one version of everything that determines machine code; its name has them: numba,
llvmlite, Python, the CPU and its features, the lanes, and a digest of all files of the kernels and of numba's settings.
It has a file for each function and signature: a SHA-256 checksum, then the pickled machine code. A file is written
under another name and then renamed, and depends on no other file. So processes need no lock: they may compile, load and
remove the same files at any time, and what a process misses it compiles.

**Place.** ``gtzan-stream/kernels`` in numba's folder for caches, if ``NUMBA_CACHE_DIR`` names one, else in the user's
(``$XDG_CACHE_HOME`` or ``~/.cache``). It never is the folder of the shards, which several users may share: a pickle can
run any program. A folder that was not used for 30 days is removed when another is written.

**Errors.** Where files cannot be read or written, and where a later numba has other internals, kernels are compiled in
each process, and one line is logged.
"""

import functools
import hashlib
import logging
import os
import pickle
import re
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import llvmlite
import numba
import numpy as np

from gtzan_stream.kernels import SOURCES, sources_digest

_log = logging.getLogger(__name__)

UNUSED_S = 30 * 24 * 3600.0
"""Time after which an unused folder is removed."""

LONG_S = 1.0
"""Time that compilation takes before it is announced."""

_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "USING_SVML")
_compiled_s = 0.0  # time that this process compiled; functions that were compiled within others count twice
_logged: set[str] = set()  # kinds of lines that this process has logged


def use_cache(kernel: Any) -> None:
    """Make numba look for the machine code of a kernel (a dispatcher of numba) in the cache, and keep it there."""
    if isinstance(kernel, FunctionType):  # with NUMBA_DISABLE_JIT=1
        return
    with _uncached_after_errors():
        own = kernel._cache
        own.load_overload, own.save_overload  # noqa: B018 - raises AttributeError if numba calls them otherwise
        kernel._cache = _KernelCache(kernel.py_func, own)


class _KernelCache:
    """The cache of one kernel. numba calls its methods while it holds its compiler's lock.

    Parameters
    ----------
    function : function
        The kernel before compilation.
    own : Any
        numba's object in this place, which gets all other calls.
    """

    def __init__(self, function: FunctionType, own: Any) -> None:
        self._function, self._own = function, own
        self._compiling: dict[str, tuple[float, threading.Timer | None]] = {}  # by signature: began, announces it

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the compiled function for a signature, or None if numba has to compile it."""
        with _uncached_after_errors():
            from numba.core.compiler import CompileResult

            target_context.refresh()
            path = self._path(signature, target_context)
            if (code := _read(path)) is not None:
                compiled = CompileResult._rebuild(target_context, *pickle.loads(code))
                _mark_used(path.parent)
                return compiled
        self._compiling[str(signature)] = time.monotonic(), _announce_later()
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep a function that numba has just compiled."""
        global _compiled_s
        began, announcement = self._compiling.pop(str(signature), (time.monotonic(), None))
        _compiled_s += time.monotonic() - began
        if announcement is not None:
            announcement.cancel()
            announcement.join()
        with _uncached_after_errors():
            from numba.core.serialize import dumps

            if compiled.library.has_dynamic_globals:
                raise ValueError(f"{self._function.__name__} contains addresses of this process")
            if sources_digest() == SOURCES:  # else the compiled code may not be that of the files
                path = self._path(signature, compiled.target_context)
                _write(path, dumps(compiled._reduce()))
                _remove_unused(path.parent)

    def _path(self, signature: Any, target_context: Any) -> Path:
        function = self._function
        key = hashlib.sha256(repr((str(signature), _identity(function))).encode()).hexdigest()
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}-{key[:16]}.kernel"
        return cache_folder(*target_context.codegen().magic_tuple()) / _as_file_name(name)


@functools.cache
def cache_folder(platform: str, cpu: str, features: str) -> Path:
    """Return the folder for kernels that are compiled for a platform, a CPU and its features.

    Raises
    ------
    LookupError
        If there are no source files to compute a digest from, as in a frozen program.
    RuntimeError
        If the user has no home.
    """
    if not SOURCES:
        raise LookupError("the source files of the kernels cannot be read")
    settings = [getattr(numba.config, name, None) for name in _SETTINGS]
    digest = _short_digest((SOURCES, platform, np.__version__, settings))
    versions = f"numba{numba.__version__}-llvmlite{llvmlite.__version__}-{sys.implementation.cache_tag}{sys.abiflags}"
    name = f"{versions}-{cpu}-{_short_digest(features)}-lanes{_lanes()}-{digest}"
    return _root() / _as_file_name(name)


def _root() -> Path:
    """Return the folder of all folders for kernels. Raises RuntimeError if the user has no home."""
    caches = getattr(numba.config, "CACHE_DIR", "") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "gtzan-stream" / "kernels"


def _lanes() -> int:
    """Return how many SIMD lanes kernels are compiled for; 0 if they are compiled without."""
    try:
        from gtzan_stream.kernels.lane_count import LANES
    except ImportError:
        return 0
    return LANES


def _short_digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


def _as_file_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)


def _identity(value: Any) -> object:
    """Return what distinguishes functions with the same name: their code, and the values that they enclose."""
    function = getattr(value, "py_func", value)
    if not isinstance(function, FunctionType):
        return value if isinstance(value, bool | int | float | str) else pickle.dumps(value)
    enclosed = [_identity(cell.cell_contents) for cell in function.__closure__ or ()]
    return function.__module__, function.__qualname__, _code(function.__code__), enclosed


def _code(code: CodeType) -> object:
    """Return bytecode, names and constants, which do not depend on the path of the file, as marshal's result does."""
    constants = [_code(value) if isinstance(value, CodeType) else repr(value) for value in code.co_consts]
    return code.co_code, code.co_names, constants


def _read(path: Path) -> bytes | None:
    """Return the contents of a file without its checksum; None if it does not exist or is damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    checksum, code = content[:32], content[32:]
    if hashlib.sha256(code).digest() != checksum:
        _log.info("%s is damaged; the kernel is compiled again", path)
        return None
    return code


def _write(path: Path, code: bytes) -> None:
    """Write a checksum and machine code to a file, in one step. A file cut by a power failure counts as damaged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        unfinished.write_bytes(hashlib.sha256(code).digest() + code)
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


@functools.cache  # once in a process
def _mark_used(folder: Path) -> None:
    with suppress(OSError):  # it may be read-only
        os.utime(folder)


@functools.cache  # once in a process
def _remove_unused(used: Path) -> None:
    """Remove the folders beside `used` that no process used for a long time."""
    for folder in used.parent.glob("numba*-lanes*"):
        with suppress(OSError):
            if folder != used and time.time() - folder.stat().st_mtime > UNUSED_S:
                shutil.rmtree(folder, ignore_errors=True)


def _announce_later() -> threading.Timer | None:
    """Announce compilation once it has taken LONG_S in this process, unless the returned timer is cancelled before."""
    if _logged:
        return None
    message = "compiling the CPU kernels, once for this machine"
    timer = threading.Timer(max(LONG_S - _compiled_s, 0), _log_once, ["compiling", message])
    timer.name, timer.daemon = "gtzan-stream-compiling", True
    try:
        timer.start()
    except RuntimeError:  # no more threads, or the program is ending
        return None
    return timer


def _log_once(kind: str, message: str) -> None:
    if kind not in _logged:
        _logged.add(kind)
        _log.info("%s", message)


@contextmanager
def _uncached_after_errors() -> Iterator[None]:
    """Ignore an error of the block, with a log line: the kernel is then compiled in each process."""
    try:
        yield
    except Exception as error:
        reason = str(error)
        if isinstance(error, OSError) and error.strerror:
            reason = f"{_root()}: {error.strerror}; set NUMBA_CACHE_DIR to a folder that can be written"
        _log_once("uncached", f"the CPU kernels are compiled in each process, as they cannot be kept: {reason}")
