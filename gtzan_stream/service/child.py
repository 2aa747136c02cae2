"""What a process and one that it has started say to each other: settings one way, reports the other, in lines of JSON.

The child reads its settings from its stdin, which stays open as long as the parent wants it to run, so it notices even
a parent that is killed. It writes each report to its stdout. This imports nothing that takes long, so that a child
notices the end of its parent while it imports torch or Ray.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

Report = dict[str, Any]
Say = Callable[[Report], None]
"""Sends a report to the parent."""


# --- in the parent ----------------------------------------------------------------------------------------------------


def start(
    command: Sequence[str], settings: dict[str, Any], *, stderr: int | None = None, env: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a child with its settings. Raises OSError if the system has no room for another process."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=env,
        start_new_session=True,  # Ctrl-C in the terminal is for the parent
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended already; its status tells why
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
    return process


def reports(process: "subprocess.Popen[bytes]") -> Iterator[Report]:
    """Yield what a child reports, until its stdout is closed."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            yield json.loads(line)


def let_end(process: "subprocess.Popen[bytes]") -> None:
    """Close the stdin of a child, which then ends."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # settings that it has not read
        process.stdin.close()


# --- in the child -----------------------------------------------------------------------------------------------------


def take_settings() -> tuple[dict[str, Any], Say]:
    """Return the settings, and what sends reports. Ends this process if its parent has ended.

    What others print, such as augmentations of your own, goes to stderr from now on.
    """
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    out = os.dup(1)
    os.dup2(2, 1)
    return json.loads(line), partial(_say, out)


def _say(out: int, report: Report) -> None:
    os.write(out, json.dumps(report).encode() + b"\n")


def at_end_of_parent(end: Callable[[], object]) -> None:
    """Call a function, in a thread, when the parent has ended or wants this process to end."""
    threading.Thread(target=_wait_for_end, args=(end,), daemon=True).start()


def _wait_for_end(end: Callable[[], object]) -> None:
    while os.read(0, 1):
        pass
    end()
