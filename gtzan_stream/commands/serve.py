"""The feature service: serve."""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtzan_stream import console
from gtzan_stream.commands.interrupt import Interrupted
from gtzan_stream.errors import UserError
from gtzan_stream.threads import cores
from gtzan_stream.words import count

if TYPE_CHECKING:
    from gtzan_stream.service.supervisor import Report

_NAMED = 4  # addresses to print; trainers need only one that answers, and learn the others from it
_REFRESH_S = 1.0
_MOST_PER_CORE = 4  # servers; each is a process with torch, of about 0.8 GB


def serve(
    shards: Annotated[
        str | None,
        typer.Argument(metavar="SHARDS", help="Folder of shards, or their https://, s3:// or hf:// address."),
    ] = None,
    listen: Annotated[
        str,
        typer.Option(
            metavar="HOST[:PORT]",
            help="Where the first server listens; the others use the next ports. 0.0.0.0 is every network.",
        ),
    ] = "127.0.0.1:5690",
    servers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of servers; by default one per usable core, or one per GPU.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="Where batches are made: cpu or cuda.")] = "cpu",
    cache_mb: Annotated[
        float, typer.Option(min=1, metavar="MB", help="Size of the batches that each server keeps.")
    ] = 256.0,
    keys: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder with the keys of the service.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE:FUNCTION", help="Augmentation or feature of your own that trainers may use."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto",
            help="Place the servers on the nodes of a Ray cluster; auto is that of this machine, or a new one. "
            "--servers is their number on each node, and of --listen only the port counts.",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print what trainers ask for.")] = False,
    make_keys: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write keys into a new folder, and exit.")
    ] = None,
    stats: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Show what the servers of a service do, until Ctrl-C.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --stats: print one JSON document, and exit.")] = False,
) -> None:
    """Serve the batches of SHARDS to trainers, which share the work.

    Start them with `python train.py --served ADDRESS`, or use ServedLoader instead of Loader. A server that dies is
    started again.

    Only this machine can reach the servers, unless --listen and --keys say otherwise.
    """
    import gtzan_stream.service  # noqa: F401  # raises UserError without pyzmq

    if sum(given is not None for given in (shards, make_keys, stats)) != 1:
        raise UserError("give either SHARDS to serve, or --make-keys DIR, or --stats ADDRESS")
    if make_keys is not None:
        _make_keys(make_keys)
    elif stats is not None:
        _show_stats(stats, keys, as_json=as_json)
    else:
        settings: dict[str, Any] = {"shards": shards, "keys": keys and str(keys), "cache_mb": cache_mb}
        settings |= {"allow": allow or [], "verbose": verbose}
        if ray is None:
            _serve(listen, servers, device, **settings)
        else:
            _serve_on_ray(ray, listen, servers, device, **settings)


# --- servers ----------------------------------------------------------------------------------------------------------


def _serve(listen: str, n: int | None, device: str, **settings: Any) -> None:
    """Run servers on this machine."""
    from gtzan_stream.service.addresses import consecutive
    from gtzan_stream.service.supervisor import Supervisor

    devices = _devices(device)
    if n is not None and n > (most := _MOST_PER_CORE * cores()):
        raise UserError(f"--servers {n}: this machine has {count(cores(), 'core')}, choose at most {most}")
    n = n or (cores() if device == "cpu" else len(devices))
    addresses = consecutive(listen, n)
    settings |= {"addresses": addresses, "torch_threads": max(cores() // n, 1)}
    servers = [{**settings, "listen": each, "device": devices[i % len(devices)]} for i, each in enumerate(addresses)]
    announce = partial(_announce, shards=settings["shards"], keys=settings["keys"])
    _run_until_stopped(partial(Supervisor(servers).run, announce))


def _serve_on_ray(
    address: str, listen: str, n: int | None, device: str, *, shards: str, keys: str | None, **settings: Any
) -> None:
    """Run servers on the nodes of a Ray cluster."""
    from gtzan_stream.service import cluster
    from gtzan_stream.service.addresses import endpoint
    from gtzan_stream.service.keys import server_files

    port = endpoint(listen).rpartition(":")[2]
    if not port.isdecimal():
        raise UserError(f"--listen {listen}: with --ray, give the port of the first server on each node as a number")
    settings |= {
        "shards": shards if "://" in shards else os.path.abspath(shards),  # the nodes have other working folders
        "servers": n,
        "port": int(port),
        "device": device,
        "keys": server_files(Path(keys)) if keys else {},
    }
    announce = partial(_announce, shards=shards, keys=keys)
    _run_until_stopped(partial(cluster.run, settings, None if address == "auto" else address, announce))


def _run_until_stopped(run: Callable[[], None]) -> None:
    """Call a function that runs servers and ends them at KeyboardInterrupt; convert Ctrl-C and SIGTERM to that."""
    stopped_by = signal.SIGINT

    def stop(number: int, frame: object) -> None:
        nonlocal stopped_by
        stopped_by = signal.Signals(number)
        raise KeyboardInterrupt

    log, printer = logging.getLogger("gtzan_stream.service"), _Printer()
    log.addHandler(printer)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        run()
    except KeyboardInterrupt:
        raise Interrupted("the servers have ended", 128 + stopped_by) from None
    finally:
        signal.signal(signal.SIGTERM, before)
        log.removeHandler(printer)


def _devices(device: str) -> list[str]:
    """Return the devices that the servers use in turn: all GPUs for "cuda"."""
    if device != "cuda":
        return [device]
    import torch

    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or [device]


def _announce(reports: Sequence["Report"], *, shards: str, keys: str | None) -> None:
    """Print what is served, and where."""
    from gtzan_stream.service.addresses import replace_wildcard

    dataset, clips = reports[0]["dataset"], count(reports[0]["clips"], "clip")
    devices = ", ".join(dict.fromkeys(report["device"] for report in reports))
    console.print_line(f"{shards}: {dataset}, {clips}; {count(len(reports), 'server')} on {devices}")
    here = f"tcp://{socket.gethostname()}:0"  # trainers cannot connect to 0.0.0.0
    named = [replace_wildcard(report["address"], here).removeprefix("tcp://") for report in reports[:_NAMED]]
    more = f" (and {len(reports) - _NAMED} more, which these name)" if len(reports) > _NAMED else ""
    console.print_line(f"python train.py --served {','.join(named)}{f' --served-keys {keys}' if keys else ''}{more}")


class _Printer(logging.Handler):
    """Prints the supervisor's warnings as other messages of the command line."""

    def emit(self, record: logging.LogRecord) -> None:
        console.print_error(f"gtzan-stream: {record.getMessage()}")


# --- keys and statistics ----------------------------------------------------------------------------------------------


def _make_keys(folder: Path) -> None:
    from gtzan_stream.service.keys import make_keys

    make_keys(folder)
    console.print_line(
        f"{folder}: keys for servers, which need --keys {folder}, and for trainers, which need --served-keys {folder}"
    )
    console.print_line("copy client.key_secret and server.key to the machines of other trainers; they need no more")


def _show_stats(addresses: str, keys: Path | None, *, as_json: bool) -> None:
    """Print the counters of the servers; on a terminal, again and again until Ctrl-C."""
    from rich.live import Live

    from gtzan_stream.commands.stats_tables import StatsTables
    from gtzan_stream.service.stats import Stats

    tables = StatsTables()
    with Stats(addresses, keys=keys) as service:
        answers = service.ask()
        if as_json:
            console.print_json({"servers": answers})
        elif not console.out.is_terminal or console.out.is_dumb_terminal:
            console.out.print(tables.layout(answers))
        else:
            try:
                with Live(tables.layout(answers), console=console.out, auto_refresh=False) as live:
                    while True:
                        time.sleep(_REFRESH_S)
                        live.update(tables.layout(service.ask()), refresh=True)
            except KeyboardInterrupt:
                pass  # the usual way to leave
