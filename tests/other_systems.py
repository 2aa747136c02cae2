"""Imitate macOS and Windows: run a program in a process that lacks what those systems lack."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_OWN = r"(gtzan_stream|models|benchmarks|train)(\.|$)"
_BINARY = 1 << 30


_RUN = """
import json, os, runpy, sys
from tests import other_systems
getattr(other_systems, sys.argv[1])()
values, programs = map(json.loads, sys.argv[2:])
def run(program, *arguments):
    sys.argv[:] = [program, *arguments]
    try:
        path = os.path.join(values["root"], program)
        runpy.run_path(path, run_name="__main__") if program.endswith(".py") else __import__(program).cli.main()
    except SystemExit as end:
        return end.code or 0
    return 0
for name, program in programs.items():
    print(f"<<{name}>>")
    exec(program, {"run": run, **values})
print("<<")
"""


def run_on(system: str, programs: dict[str, str], folder: Path, **values: object) -> dict[str, str]:
    """Run programs on an imitation of `system`, "macos" or "windows", and return what each printed.

    They run in a folder, in one process, as importing torch takes seconds. `values` are their global variables; `run`
    runs train.py or gtzan_stream with arguments. On Windows the terminal's encoding is cp1252.
    """
    encoding = {"windows": "cp1252", "macos": "utf-8"}[system]
    values = {"root": str(ROOT), **values}
    arguments = [system, json.dumps(values, default=str), json.dumps(programs)]
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", _RUN, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "USERNAME": "somebody", "PYTHONIOENCODING": encoding},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=240,
    )
    output = done.stdout.decode(encoding)
    assert done.returncode == 0, output + done.stderr.decode(errors="replace")
    return dict(re.findall(r"<<(.+)>>\r?\n((?:(?!<<).*\n)*)", output))


def macos() -> None:
    """Remove what macOS lacks."""
    _hide_modules("triton")
    _hide(
        os,
        "sched_getaffinity",
        "sched_setaffinity",
        "preadv",
        "pwritev",
        "posix_fadvise",
        "posix_fallocate",
        "memfd_create",
    )
    _hide_proc()
    _refuse_default_encodings()


def windows() -> None:
    """Remove what Windows lacks, and refuse what it refuses.

    On Windows open files cannot be replaced or removed, and the default text encoding is cp1252.
    """
    _refuse_to_sync_read_only_files()
    _hide_modules("triton", "fcntl", "resource", "pwd", "grp", "termios", "tty", "pty")
    import numpy  # noqa: F401 - numpy and torch check sys.platform, which stays linux, and then need os.uname etc.
    import torch  # noqa: F401

    _hide(os, "sched_getaffinity", "sched_setaffinity", "preadv", "pwritev", "pread", "pwrite", "posix_fadvise")
    _hide(os, "fork", "forkpty", "register_at_fork", "sysconf", "getloadavg", "getuid", "geteuid", "uname", "mkfifo")
    _hide(
        os,
        "killpg",
        "getpgid",
        "setsid",
        "posix_fallocate",
        "memfd_create",
        "chown",
        "fchmod",
        "O_NONBLOCK",
        "O_DIRECTORY",
    )
    _hide(signal, "SIGKILL", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "setitimer", "alarm")
    shutil._use_fd_functions = False  # type: ignore[attr-defined] - shutil decided this when it was imported
    _open_as_windows_does()
    for name in ("replace", "rename", "unlink", "remove", "rmdir"):
        _refuse_open_files(name)
    _hide_proc()
    _refuse_default_encodings()


def _hide_modules(*names: str) -> None:
    for name in names:
        sys.modules[name] = None  # type: ignore[assignment] - importing it is an ImportError


def _hide(module: Any, *names: str) -> None:
    for name in names:
        delattr(module, name)


def _hide_proc() -> None:
    real = os.stat

    def stat(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if _in_proc(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return real(path, *args, **kwargs)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and _in_proc(arguments[0]):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), arguments[0])

    os.stat = stat
    sys.addaudithook(hook)


def _in_proc(path: Any) -> bool:
    return isinstance(path, str | os.PathLike) and os.fspath(path).startswith("/proc/")


def _refuse_default_encodings() -> None:
    """Raise an error if this project opens a text file without an encoding: it would be cp1252 on Windows."""
    warnings.filterwarnings("error", category=EncodingWarning, module=_OWN)


def _open_as_windows_does() -> None:
    """Raise an error if this project opens a folder, or a descriptor in text mode, which would translate line ends."""
    real, os.O_BINARY = os.open, _BINARY  # type: ignore[attr-defined]

    def open_(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if re.match(_OWN, sys._getframe(1).f_globals["__name__"]):
            if os.path.isdir(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            assert flags & _BINARY, f"{path} is opened in text mode"
        return real(path, flags & ~_BINARY, *args, **kwargs)

    os.open = open_


def _refuse_open_files(name: str) -> None:
    """Make ``os.<name>`` refuse paths that this process has open, and folders that hold an open file."""
    real = getattr(os, name)

    def function(*paths: Any, **kwargs: Any) -> Any:
        for path in paths:
            real_path = os.path.realpath(path)
            if any(file == real_path or file.startswith(real_path + os.sep) for file in _open_files()):
                raise PermissionError(errno.EACCES, "the file is open", path)
        return real(*paths, **kwargs)

    setattr(os, name, function)


def _refuse_to_sync_read_only_files() -> None:
    import fcntl

    real = os.fsync

    def fsync(descriptor: int) -> None:
        if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(descriptor)

    os.fsync = fsync


def _open_files() -> set[str]:
    found = set()
    for descriptor in range(256):
        try:
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    return found
