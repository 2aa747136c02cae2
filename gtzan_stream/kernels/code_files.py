"""Files of machine code: in which folder they are, how they are written and read, and when they are removed.

**Files.** A folder belongs to one version of everything that determines machine code; its name has them: numba,
llvmlite, Python, the CPU and its features, the lanes, and a digest of all files of the kernels and of numba's settings.
It has a file for each function and signature: a SHA-256 checksum, then the pickled machine code. A file is written
under another name and then renamed, and depends on no other file. So processes need no lock: they may compile, load and
remove the same files at any time, and what a process misses it compiles.

**Place.** ``gtzan-stream/kernels`` in numba's folder for caches, if ``NUMBA_CACHE_DIR`` names one, else in the user's
(``$XDG_CACHE_HOME`` or ``~/.cache``). It never is the folder of the shards, which several users may share: a pickle can
run any program. A folder that was not used for 30 days is removed when another is written.
"""

import functools
import hashlib
import logging
import os
import re
import shutil
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import llvmlite
import numba
import numpy as np

from gtzan_stream.kernels import SOURCES
from gtzan_stream.kernels.lane_count import LANES

_log = logging.getLogger(__name__)

UNUSED_S = 30 * 24 * 3600.0
"""Time after which an unused folder is removed."""

_SETTINGS = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "USING_SVML")


@functools.cache
def folder_for(platform: str, cpu: str, features: str) -> Path:
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
    digest = short_digest((SOURCES, platform, np.__version__, sys.version, settings))
    versions = f"numba{numba.__version__}-llvmlite{llvmlite.__version__}-{sys.implementation.cache_tag}"
    name = f"{versions}-{cpu}-{short_digest(features)[:8]}-lanes{LANES}-{digest}"
    return root() / as_file_name(name)


def root() -> Path:
    """Return the folder of all folders for kernels. Raises RuntimeError if the user has no home."""
    caches = getattr(numba.config, "CACHE_DIR", "") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "gtzan-stream" / "kernels"


def short_digest(value: object) -> str:
    """Return a digest of a value's repr."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def as_file_name(name: str) -> str:
    """Replace what no file system allows in a name, such as the brackets in ``<locals>``."""
    return re.sub(r"[^\w.-]", "_", name)


def read(path: Path) -> bytes | None:
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


def write(path: Path, code: bytes) -> None:
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
def mark_used(folder: Path) -> None:
    """Set the time at which a folder was used."""
    with suppress(OSError):  # it may be read-only
        os.utime(folder)


@functools.cache  # once in a process
def remove_unused(parent: Path) -> None:
    """Remove the folders in `parent` that no process used for a long time."""
    for folder in parent.glob("numba*-lanes*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > UNUSED_S:
                shutil.rmtree(folder, ignore_errors=True)
