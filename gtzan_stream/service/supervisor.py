"""Supervisor: starts the servers of a service on this machine, each in a process, and restarts those that end.

It imports no torch, so it is small and cannot fail as servers can. Each server holds the other end of a pipe to the
supervisor, and ends when the supervisor does, even if that is killed.
"""

import logging
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gtzan_stream.errors import UserError
from gtzan_stream.service.child import Report, let_end, reports, start

_log = logging.getLogger(__name__)
_COMMAND = [sys.executable, "-m", "gtzan_stream.service.server_process"]
_END_S = 5.0
_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 30.0
_STABLE_S = 60.0
"""A server that has served for so long is restarted at once if it ends."""


@dataclass(eq=False)
class _Child:
    """A server's settings and its process.

    Attributes
    ----------
    report : dict, optional
        What the present process serves, or its error; None until it has said so.
    served : dict, optional
        The last report of this process, or one before it, that was not an error.
    pause_s : float
        Pause before the last restart.
    restart_at : float, optional
        When to start the process again; None while it runs.
    """

    settings: dict[str, Any]
    process: "subprocess.Popen[bytes] | None" = None
    report: Report | None = None
    served: Report | None = None
    started: float = 0.0
    pause_s: float = 0.0
    restart_at: float | None = None


class Supervisor:
    """Starts servers in processes of their own, and restarts those that end.

    Parameters
    ----------
    settings : sequence of dict
        For each server the arguments of `Server`, as JSON; and "torch_threads", "verbose".
    """

    def __init__(self, settings: Sequence[dict[str, Any]]) -> None:
        self._children = [_Child(each) for each in settings]
        self._events: queue.SimpleQueue[tuple[_Child, Report | int]] = queue.SimpleQueue()

    def run(self, on_ready: Callable[[list[Report]], object]) -> None:
        """Run the servers until an exception, such as KeyboardInterrupt, ends this; then end them.

        Parameters
        ----------
        on_ready : callable
            Called once with what each server serves, when all do.

        Raises
        ------
        UserError
            If a server cannot start the first time.
        """
        try:
            for child in self._children:
                self._start(child)
            is_ready = False
            while True:
                for child in self._children:
                    if child.restart_at is not None and child.restart_at <= time.monotonic():
                        self._start(child)
                self._wait()
                served = [child.served for child in self._children if child.served]
                if not is_ready and len(served) == len(self._children):
                    is_ready = True
                    on_ready(served)
        finally:
            self._end()

    def _start(self, child: _Child) -> None:
        """Start a server's process."""
        child.report, child.restart_at, child.started = None, None, time.monotonic()
        try:
            child.process = start(_COMMAND, child.settings)
            threading.Thread(target=self._watch, args=(child, child.process), daemon=True).start()
        except (OSError, RuntimeError) as error:  # a RuntimeError: there is no room for a thread
            if child.process:
                child.process.kill()
            self._events.put((child, {"error": f"no process can be started: {error}"}))
            self._events.put((child, 1))

    def _watch(self, child: _Child, process: "subprocess.Popen[bytes]") -> None:
        """Pass on what a process reports, and its exit status. Runs in a thread."""
        for report in islice(reports(process), 1):  # processes that it has forked may keep its stdout open for longer
            self._events.put((child, report))
        status = process.wait()
        let_end(process)  # close the file
        self._events.put((child, status))

    def _wait(self) -> None:
        """Wait until a server has said something, or has ended, or one must be restarted."""
        restarts = [child.restart_at for child in self._children if child.restart_at is not None]
        try:
            timeout = max(min(restarts) - time.monotonic(), 0) if restarts else None
            child, event = self._events.get(timeout=timeout)
        except queue.Empty:
            return
        if isinstance(event, int):
            self._ended(child, event)
        else:
            child.report = event
            if "error" not in event:
                child.served = event

    def _ended(self, child: _Child, status: int) -> None:
        """Decide when to restart a server. Raises UserError if it has never served."""
        reason = (child.report or {}).get("error") or _describe(status)
        address = child.settings["listen"].removeprefix("tcp://")
        if child.served is None:
            raise UserError(reason if child.report else f"the server at {address} could not start: {reason}")
        if child.report is not None and time.monotonic() - child.started > _STABLE_S:
            child.pause_s = 0.0
        pause_s, child.pause_s = child.pause_s, min(max(2 * child.pause_s, _FIRST_PAUSE_S), _LAST_PAUSE_S)
        child.restart_at = time.monotonic() + pause_s
        when = f"in {pause_s:g} s" if pause_s else "now"
        _log.warning("the server at %s ended (%s); it is started again %s", address, reason, when)

    def _end(self) -> None:
        """End all processes; those that do not end in a few seconds are killed."""
        processes = [child.process for child in self._children if child.process]
        for process in processes:
            process.terminate()
        latest = time.monotonic() + _END_S
        try:
            for process in processes:
                process.wait(max(latest - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            _log.warning("servers that have not ended in %g s are killed", _END_S)
        finally:  # also at a second Ctrl-C
            for process in processes:
                process.kill()
                process.wait()


def _describe(status: int) -> str:
    """Describe an exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    remedy = "; is there enough memory? --servers starts fewer" if status == -signal.SIGKILL else ""
    names = {each.value: each.name for each in signal.Signals}  # without most real-time signals
    return f"ended by {names.get(-status, f'signal {-status}')}{remedy}"
