"""Inject faults of disks and machines at a chosen file operation of a forked process.

An audit hook sees what Python asks of the operating system (open, rename, remove, mkdir...) and may raise or kill.
Writes and fsync have no audit events, so `os.fsync` and files that are opened for writing are wrapped. Files that C
libraries open themselves are not seen; the package passes them files that Python has opened.
"""

import builtins
import errno
import gc
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FAULTS = ("full", "read-only", "forbidden", "broken", "killed", "power cut")
"""full, read-only, forbidden: from the chosen operation on, the disk has no room, the file system is read-only, or the
folders lack permission. broken: only the chosen operation fails. killed: SIGKILL. power cut: SIGKILL, and bytes that
were not synced with fsync are lost."""

REMOVALS = {"remove", "rmdir"}
NEEDS_ROOM = {"open", "write", "fsync", "mkdir"}
_EVENTS = {
    "os.rename": (1, 3), "os.link": (1, 3), "os.symlink": (1, 2), "os.remove": (0, 1), "os.rmdir": (0, 1),
    "os.mkdir": (0, 2), "os.chmod": (0, 2), "os.utime": (0, 3), "os.truncate": (0, None),
}  # fmt: skip
"""Indices of the arguments that hold the path and, if there is one, the descriptor of its folder."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_open = io.open


class Injector:
    """Counter of the file operations below `root`, from 1, that injects `fault` at operation number `moment`.

    Attributes
    ----------
    trace : list of (kind, path)
        The operations so far; for a rename, the new path.
    """

    def __init__(self, root: Path, fault: str = "", moment: int = 0) -> None:
        self.root, self.fault, self.moment = os.path.realpath(root), fault, moment
        self.trace: list[tuple[str, str]] = []
        self.unsynced: set[int] = set()
        self.active = False

    def install(self) -> None:
        """Start counting, for the rest of this process."""
        self.active = True
        sys.addaudithook(self._audit)
        io.open = builtins.open = self._open_wrapped  # type: ignore[assignment]
        os.fsync = self._fsync

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event == "open" and args[2] & _WRITING:
            self.operation("open", args[0])
        elif event in _EVENTS:
            path, folder = _EVENTS[event]
            self.operation(event[3:], args[path], -1 if folder is None else args[folder])

    def operation(self, kind: str, path: Any, folder: int = -1, data: Any = None, file: Any = None) -> int | None:
        """Count an operation that is about to happen. Return the number of bytes written if `data` was cut short."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        path = os.path.join(os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else "", os.fsdecode(path))
        path = os.path.abspath(path)
        if not self.active or not path.startswith(self.root + "/"):
            return None
        self.trace.append((kind, os.path.relpath(path, self.root)))
        if not self.fault or len(self.trace) < self.moment:
            return None
        is_chosen = len(self.trace) == self.moment
        half = None if data is None else bytes(data)[: len(data) // 2]
        if self.fault in ("killed", "power cut"):
            self._die(file, half)
        if self.fault == "full" and kind in NEEDS_ROOM:
            if is_chosen and half:
                return io.FileIO.write(file, half)  # like a kernel: only the next write fails
            raise _error(errno.ENOSPC, kind, path)
        if self.fault == "read-only":
            raise _error(errno.EROFS, kind, path)
        if self.fault == "forbidden" and kind not in ("write", "fsync"):
            raise _error(errno.EACCES, kind, path)
        if self.fault == "broken" and is_chosen:
            raise _error(errno.EIO, kind, path)
        return None

    def _die(self, file: Any, half: bytes | None) -> None:
        if half:
            io.FileIO.write(file, half)
            self.unsynced.add(os.fstat(file.fileno()).st_ino)
        self.active = False
        if self.fault == "power cut":
            for path in filter(Path.is_file, Path(self.root).rglob("*")):
                if path.stat().st_ino in self.unsynced:
                    os.truncate(path, 0)
        os.kill(os.getpid(), signal.SIGKILL)

    def _fsync(self, descriptor: int) -> None:
        self.operation("fsync", descriptor)
        self.unsynced.discard(os.fstat(descriptor).st_ino)

    def _open_wrapped(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        writes = set(mode) & set("wax+")
        if isinstance(file, int) or not writes or not os.path.abspath(os.fsdecode(file)).startswith(self.root + "/"):
            return _open(file, mode, buffering, encoding, errors, newline, *args, **kwargs)
        raw = _File(file, "".join(set(mode) - set("bt")), self)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)


def _error(number: int, kind: str, path: str) -> OSError:
    """Return the error that Python raises: it has the path only if the operation was given one."""
    text = os.strerror(number)
    return OSError(number, text) if kind in ("write", "fsync") else OSError(number, text, path)


class _File(io.FileIO):
    def __init__(self, path: Any, mode: str, injector: Injector) -> None:
        super().__init__(path, mode)
        self._path, self._injector = path, injector

    def write(self, data: Any) -> int:
        written = self._injector.operation("write", self._path, data=memoryview(data), file=self)
        written = super().write(data) if written is None else written
        self._injector.unsynced.add(os.fstat(self.fileno()).st_ino)
        return written


@dataclass(frozen=True)
class Ended:
    """End of a forked process: its exit status, or minus the signal that killed it; its stdout and stderr."""

    status: int
    out: str
    err: str


def in_child(work: Callable[[], object], log: Path, timeout_s: int = 200) -> Ended:
    """Run `work` in a forked process. An exception gives a traceback on stderr, and status 70."""
    log.mkdir(parents=True, exist_ok=True)
    process = os.fork()
    if not process:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(log / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w"), write_through=True) for n in (1, 2))
        signal.alarm(timeout_s)
        status = 0
        try:
            work()
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 0 if error.code is None else 71
        except BaseException:
            traceback.print_exc()
            status = 70
        gc.collect()  # print the errors of files that were not closed
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return Ended(status, *((log / name).read_text(encoding="utf-8", errors="replace") for name in ("out", "err")))
