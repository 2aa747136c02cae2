"""Connect the processes of a run that torchrun started, and end them together with one line."""

import hashlib
import logging
import math
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, NoReturn

import torch
import typer
from torch import distributed

from gtzan_stream.errors import UserError, first_line
from gtzan_stream.training import collectives

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets for each process."""
TIMEOUT_S = 50.0
"""How long a step waits for the other ranks, unless the environment variable GTZAN_STREAM_RANK_TIMEOUT_S says."""
_CONNECT_S = 300.0  # processes may start at different times

_store: Any = None  # key-value store that all processes share; None with one process


def connect() -> None:
    """Initialise `torch.distributed` if torchrun started this process with others.

    Ranks other than 0 then print nothing but their own errors.

    Raises
    ------
    UserError
        If the environment variables are incomplete or wrong, or the other processes cannot be reached.
    """
    global _store
    found = ranks_of(os.environ)
    if found is None:
        return
    rank, world_size = found
    timeout_s = _timeout_s()
    try:
        store, *_ = next(distributed.rendezvous("env://", rank, world_size, timeout=timedelta(seconds=_CONNECT_S)))
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            store=distributed.PrefixStore("groups", store),
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=collectives.PATIENCE_S),
        )
        collectives.use(timeout_s)
    except (RuntimeError, ValueError) as error:
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise UserError(
            f"rank {rank} of {world_size} cannot reach the others through {address} (MASTER_ADDR, MASTER_PORT): "
            f"{first_line(error)}"
        ) from error
    _store = store
    sys.excepthook = _print_and_exit
    if rank:
        logging.getLogger("gtzan_stream").setLevel(logging.CRITICAL)
        warnings.simplefilter("ignore")


def ranks_of(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Return rank and world size as torchrun's environment variables say; None for a process on its own.

    Raises
    ------
    UserError
        If some of them are missing, or are no such numbers.
    """
    given = {name: environment[name] for name in VARIABLES if environment.get(name)}
    remedy = "start train.py with torchrun --nproc-per-node N, or unset them"
    if not given.keys() & {"RANK", "WORLD_SIZE", "LOCAL_RANK"} or given.get("WORLD_SIZE") == "1":
        return None
    if missing := [name for name in VARIABLES if name not in given]:
        raise UserError(f"{', '.join(given)} set in the environment, but not {', '.join(missing)}: {remedy}")
    try:
        rank, world_size, local_rank, port = (int(given[name]) for name in VARIABLES if name != "MASTER_ADDR")
    except ValueError:
        rank = world_size = local_rank = port = -1
    if not (0 <= local_rank <= rank < world_size and 0 < port < 2**16):
        values = ", ".join(f"{name}={value}" for name, value in given.items())
        raise UserError(f"the environment has {values}, which are not a rank among several processes: {remedy}")
    return rank, world_size


def end(status: int, text: str = "", *, error: BaseException | None = None) -> NoReturn:
    """End this process, after printing a line to stderr.

    With several processes, a line that another one has printed is not repeated, and that a rank was lost (`error`) is
    printed only if no other line was.
    """
    if _store is None:
        if text:
            typer.echo(text, err=True)
        raise typer.Exit(status) from None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # torchrun sends these to the processes that have not ended
    if text and _is_news(text, is_loss=isinstance(error, collectives.RankLost)):
        typer.echo(text, err=True)
    _exit(status)


def end_together(status: int) -> NoReturn:
    """End all processes, when they are here: torchrun ends the others as soon as one has ended with an error."""
    with suppress(UserError):
        collectives.wait()
    end(status)


def disconnect() -> None:
    """End the connection to the other processes after a run that succeeded."""
    global _store
    if _store is not None:
        distributed.destroy_process_group()
        _store, sys.excepthook = None, sys.__excepthook__


def _timeout_s() -> float:
    text = os.environ.get("GTZAN_STREAM_RANK_TIMEOUT_S", str(TIMEOUT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if 1 <= seconds <= collectives.PATIENCE_S:
        return seconds
    raise UserError(
        f"GTZAN_STREAM_RANK_TIMEOUT_S is how long ranks wait for each other, 1 to {collectives.PATIENCE_S:g} seconds; "
        f"got {text!r}"
    )


def _is_news(text: str, *, is_loss: bool) -> bool:
    """Return whether to print a line: whether no process has printed it or, if a rank was lost, any other."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    try:
        is_first_line = _store.add("lines", 1) == 1
        return is_first_line if is_loss else _store.add(digest, 1) == 1
    except RuntimeError:  # the process with the store has ended
        return True


def _print_and_exit(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _is_news("", is_loss=True)  # so that the ranks that lose this one print nothing
    traceback.print_exception(kind, error, trace)
    _exit(1)


def _exit(status: int) -> NoReturn:
    """Exit without waiting for the other processes, as the destructors of torch's process groups would."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
