"""The cache of compiled kernels: each is compiled once for a machine, and loaded by later processes.

numba's own cache (``cache=True``) compiles a function again when its file changes, but not when a function changes that
it calls in another file, nor when the number of SIMD lanes changes. Two processes that compile different signatures of
a function at the same time can take each other's file there, and a wrong byte in a file can crash the process. So
kernels have a cache of their own. It needs only what numba's cache needs of numba: a place in the dispatcher, and a
compiled function as bytes. `gtzan_stream.kernels.code_files` has the files.

**Errors.** Where files cannot be read or written, and where a later numba has other internals, kernels are compiled in
each process, and one line is logged.
"""

import logging
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from gtzan_stream.kernels import SOURCES, sources_digest
from gtzan_stream.kernels.code_files import (
    as_file_name,
    folder_for,
    mark_used,
    read,
    remove_unused,
    root,
    short_digest,
    write,
)

_log = logging.getLogger(__name__)

LONG_S = 1.0
"""Time that compilation takes before it is announced."""

_compiled_s = 0.0  # time that this process compiled; functions that were compiled within others count twice
_logged: set[str] = set()  # kinds of lines that this process has logged


def use_cache(kernel: Any, options: dict[str, Any]) -> None:
    """Make numba look for the machine code of a kernel in the cache, and keep it there.

    Parameters
    ----------
    kernel : Any
        A dispatcher of numba.
    options
        Options of numba's compiler that the kernel has.
    """
    if isinstance(kernel, FunctionType):  # with NUMBA_DISABLE_JIT=1
        return
    with _uncached_after_errors():
        own = kernel._cache
        own.load_overload, own.save_overload  # noqa: B018 - raises AttributeError if numba calls them otherwise
        kernel._cache = _KernelCache(kernel.py_func, options, own)


class _KernelCache:
    """The cache of one kernel. numba calls its methods while it holds its compiler's lock.

    Parameters
    ----------
    function : function
        The kernel before compilation.
    options
        Options of numba's compiler.
    own : Any
        numba's object in this place, which gets all other calls.
    """

    def __init__(self, function: FunctionType, options: dict[str, Any], own: Any) -> None:
        self._function, self._own = function, own
        self._options = {name: sorted(x) if isinstance(x, set) else x for name, x in sorted(options.items())}
        self._compiling: dict[str, tuple[float, threading.Timer | None]] = {}  # by signature: began, announces it

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return the compiled function for a signature, or None if numba has to compile it."""
        with _uncached_after_errors():
            from numba.core.compiler import CompileResult

            target_context.refresh()
            path = self._path(signature, target_context)
            if (code := read(path)) is not None:
                compiled = CompileResult._rebuild(target_context, *pickle.loads(code))
                mark_used(path.parent)
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
                write(path, dumps(compiled._reduce()))
                remove_unused(path.parent.parent)

    def _path(self, signature: Any, target_context: Any) -> Path:
        function = self._function
        key = short_digest((str(signature), self._options, _identity(function)))
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}-{key}.kernel"
        return folder_for(*target_context.codegen().magic_tuple()) / as_file_name(name)


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
            reason = f"{root()}: {error.strerror}; set NUMBA_CACHE_DIR to a folder that can be written"
        _log_once("uncached", f"the CPU kernels are compiled in each process, as they cannot be kept: {reason}")
