"""The servers of a service on a Ray cluster, from outside of Ray, which ends processes that lose their cluster.

`run` starts the process that joins the cluster and places the servers, and starts it again if Ray has ended it.
"""

import importlib.util
import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gtzan_stream.errors import UserError
from gtzan_stream.service.child import let_end, reports, start

_log = logging.getLogger(__name__)
_CONNECT_S = 2.0
_END_S = 6.0
_PAUSE_S = 2.0
_COMMAND = [sys.executable, "-m", "gtzan_stream.service.ray_process"]
_START = "start one with `ray start --head`"


def run(settings: dict[str, Any], address: str | None, on_serving: Callable[[list[dict[str, Any]]], object]) -> None:
    """Run servers on a Ray cluster until an exception, such as KeyboardInterrupt, ends this; then end them.

    Parameters
    ----------
    settings : dict
        Arguments of `on_ray.Placement`, as JSON.
    address : str, optional
        host:port of the cluster. By default that in RAY_ADDRESS, or that of this machine, or a new one.
    on_serving : callable
        Called with what each server serves, when all do and whenever their addresses have changed.

    Raises
    ------
    UserError
        If Ray is not installed, there is no cluster at `address`, or the servers cannot start the first time.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("--ray needs Ray: pip install 'gtzan-stream[ray]', or leave the option out")
    found = find(address)
    has_served, told = False, ""
    while True:
        problem = "it does not answer"
        if found is None or _answers(found):
            problem = "Ray has ended the connection"
            try:
                with _process({**settings, "address": found}) as process:
                    for report in reports(process):
                        if "serving" in report:
                            has_served, told = True, ""
                            on_serving(report["serving"])
                        elif "warning" in report:
                            _log.warning("%s", report["warning"])
                        else:
                            problem = report["error"]
            except BlockingIOError as error:
                problem = f"no process can be started: {error}"
        if not has_served:
            raise UserError(problem)
        if problem != told:
            where = f"the Ray cluster at {found}" if found else "the Ray cluster of this command"
            _log.warning("%s was lost (%s); servers are started there again as soon as possible", where, problem)
            told = problem
        time.sleep(_PAUSE_S)


def find(address: str | None) -> str | None:
    """Return the address of a running Ray cluster; None if none was asked for, and none runs on this machine.

    Raises
    ------
    UserError
        If there is none at `address`, or at RAY_ADDRESS. Ray itself would try for minutes.
    """
    if given := address or os.environ.get("RAY_ADDRESS"):
        if not _answers(given):
            raise UserError(f"no Ray cluster answers at {given}: {_START}, or correct the address")
        return given
    noted = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), "ray/ray_current_cluster")  # by `ray start`
    running = noted.read_text(encoding="utf-8").strip() if noted.exists() else ""
    return running if running and _answers(running) else None


def _answers(address: str) -> bool:
    """Return whether something listens at host:port."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise UserError(
            f"{address!r} is not the address of a Ray cluster: write host:port, such as 10.0.0.7:6379, or auto"
        )
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError):
        return False
    return True


@contextmanager
def _process(settings: dict[str, Any]) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a process that places servers until the block ends."""
    env = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"} | ({} if settings["address"] else _own_cluster())
    process = start(_COMMAND, settings, stderr=subprocess.DEVNULL, env=env)
    try:
        yield process
    finally:
        let_end(process)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _own_cluster() -> dict[str, str]:
    """Return environment variables for a cluster that only this machine, and only its processes, can use."""
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen at 127.0.0.1, as on those systems
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # or Ray would write one to the home folder, for everybody to read
        "RAY_memory_monitor_refresh_ms": "0",  # it would end servers because other programs need memory
    }
