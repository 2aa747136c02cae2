"""The feature service: serve."""

import logging
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from gtzan_stream import console
from gtzan_stream.commands.interrupt import Interrupted
from gtzan_stream.commands.options import AsJson
from gtzan_stream.errors import UserError
from gtzan_stream.threads import cores
from gtzan_stream.words import count


def serve(
    shards: Annotated[str | None, typer.Argument(metavar="SHARDS", help="Folder of shards, or their address.")] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST[:PORT]", help="Where the first server listens; the others use the next ports.")
    ] = "127.0.0.1:5690",
    servers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of servers; by default one per core, or per GPU.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where batches are made: cpu or cuda.")] = "cpu",
    cache_mb: Annotated[float, typer.Option(min=1, metavar="MB", help="Batches that each server keeps.")] = 256.0,
    keys: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder with the keys of the service.")] = None,
    allow: Annotated[
        list[str], typer.Option(metavar="MODULE:FUNCTION", help="Own augmentation or feature that trainers may use.")
    ] = [],  # noqa: B006
    verbose: Annotated[bool, typer.Option("--verbose", help="Print what clients ask for.")] = False,
    make_keys: Annotated[Path | None, typer.Option(metavar="DIR", help="Write new keys into DIR, and exit.")] = None,
    stats: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Show what running servers do.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make batches for trainers, which share the work.

    Start trainers with `python train.py --served ADDRESS`.
    """
    from gtzan_stream import service  # noqa: F401  # raises UserError without pyzmq

    if make_keys is not None:
        _make_keys(make_keys)
        return
    if stats is not None:
        raise UserError("--stats is not there yet")
    if shards is None:
        raise UserError("name a folder of shards, or their address, to serve")
    _run(shards, listen, servers, device, cache_mb=cache_mb, keys=keys, allow=allow, verbose=verbose)


def _make_keys(folder: Path) -> None:
    from gtzan_stream.service.keys import make_keys

    make_keys(folder)
    console.print_line(
        f"{folder}: keys of the service; give --keys {folder} to servers and trainers. Trainers on other machines need "
        "a copy of client.key_secret and server.key"
    )


def _run(shards: str, listen: str, n: int | None, device: str, *, keys: Path | None, **settings: Any) -> None:
    """Run servers until Ctrl-C or SIGTERM."""
    from gtzan_stream.service.addresses import consecutive
    from gtzan_stream.service.supervisor import Report, Supervisor

    devices = _devices(device)
    n = n or (cores() if device == "cpu" else len(devices))
    addresses = consecutive(listen, n)
    settings |= {"shards": shards, "addresses": addresses, "keys": keys and str(keys)}
    settings |= {"torch_threads": max(cores() // n, 1)}
    servers = [
        {**settings, "listen": address, "device": devices[i % len(devices)]} for i, address in enumerate(addresses)
    ]

    def on_ready(reports: list[Report]) -> None:
        clips = count(reports[0]["clips"], "clip")
        console.print_line(f"{reports[0]['dataset']}, {clips} in {shards}, served by {count(n, 'server')} on {device}")
        short = [address.removeprefix("tcp://") for address in addresses]
        console.print_line(f"train with: python train.py --served {','.join(short)}")

    stopped_by = signal.SIGINT

    def stop(number: int, frame: object) -> None:
        nonlocal stopped_by
        stopped_by = signal.Signals(number)
        raise KeyboardInterrupt

    _log_to_stderr()
    signal.signal(signal.SIGTERM, stop)
    try:
        Supervisor(servers).run(on_ready)
    except KeyboardInterrupt:
        raise Interrupted("the servers have ended", 128 + stopped_by) from None


def _devices(device: str) -> list[str]:
    """Return the devices that servers use in turn: each GPU for "cuda"."""
    if device != "cuda":
        return [device]
    import torch

    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or [device]


def _log_to_stderr() -> None:
    """Print warnings of the supervisor as the other messages of the command line."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("gtzan-stream: %(message)s"))
    logging.getLogger("gtzan_stream.service").addHandler(handler)
