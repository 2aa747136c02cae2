"""What the servers of a service do, as tables of 80 columns."""

import time
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gtzan_stream.words import count, one_line

Answer = dict[str, Any]
_DIGITS = 8  # of a stream's name; that is enough to tell a service's streams apart


class StatsTables:
    """Lays out the answers of the servers. Rates are over the time since the last layout; at first, since the start."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, int], tuple[float, float]] = {}  # of each server: when, and its CPU seconds then

    def layout(self, answers: Sequence[Answer]) -> RenderableType:
        """Return tables of the servers, their streams and the trainers."""
        live = [answer for answer in answers if "error" not in answer]
        streams, trainers = _streams(live), _trainers(live)
        missing = len(answers) - len(live)
        found = count(len(answers), "server") + (f" ({missing} not answering)" if missing else "")
        heading = Text(f"{found}, {count(len(streams), 'stream')}, {count(len(trainers), 'trainer')}", style="bold")
        tables = [self._server_table(answers)]
        tables += [_stream_table(streams)] if streams else []
        tables += [_trainer_table(trainers)] if trainers else []
        return Group(heading, *(part for table in tables for part in ("", table)))

    def _server_table(self, answers: Sequence[Answer]) -> Table:
        table = _table("server", "device", "+up", "+CPU", "+cache, MB", "+made", "+errors")
        for answer in answers:
            address = one_line(answer["address"].removeprefix("tcp://"))
            if "error" in answer:
                table.add_row(Text(address), Text(one_line(answer["error"]), style="red"))
                continue
            cache = answer["cache"]
            table.add_row(
                Text(address),
                answer["device"],
                _duration(answer["uptime_s"]),
                f"{self._cpu(answer):.0%}",
                f"{cache['bytes'] / 1e6:,.0f} of {cache['max_bytes'] / 1e6:,.0f}",
                f"{sum(stream['made'] for stream in answer['streams']):,}",
                f"{answer['errors']:,}",
            )
        return table

    def _cpu(self, answer: Answer) -> float:
        """Return the CPU seconds that a server has used each second."""
        server, now = (answer["address"], answer["pid"]), time.monotonic()
        when, used = self._before.get(server, (now - answer["uptime_s"], 0.0))
        self._before[server] = now, answer["cpu_s"]
        return (answer["cpu_s"] - used) / max(now - when, 1e-3)


def _streams(answers: Sequence[Answer]) -> dict[str, Answer]:
    """Add up the counters of each stream over the servers."""
    found: dict[str, Answer] = {}
    for stream in (stream for answer in answers for stream in answer["streams"]):
        total = found.setdefault(stream["stream"], {"settings": stream["settings"]})
        for name in ("requested", "made", "made_again", "failed", "making_s", "waiting_s"):
            total[name] = total.get(name, 0) + stream[name]
    return found


def _stream_table(streams: dict[str, Answer]) -> Table:
    table = _table(
        "stream", "batches", "+asked\nfor", "+made", "+made\nagain", "+failed", "+ms to\nmake", "+ms\nwaited"
    )
    for name, total in streams.items():
        table.add_row(
            name[:_DIGITS],
            Text(_settings(total["settings"])),
            *(f"{total[counter]:,}" for counter in ("requested", "made", "made_again", "failed")),
            _milliseconds(total["making_s"], total["made"]),
            _milliseconds(total["waiting_s"], total["requested"]),
        )
    return table


def _settings(settings: Answer) -> str:
    """Describe the settings of a stream in a few words."""
    augment = settings["augment"]
    kind = augment if isinstance(augment, str) else augment["class"]
    what = kind if settings["chunks"] is None else f"chunks {settings['chunks']}"
    split = " ".join(filter(None, (settings["split"], settings["part"]))) or "all clips"
    seed = f", seed {settings['seed']}" if settings["chunks"] is None else ""
    return one_line(f"{split}, {what}, {count(settings['batch_size'], 'row')}{seed}")


def _trainers(answers: Sequence[Answer]) -> dict[str, Answer]:
    """Add up the requests of each client that has opened a stream."""
    found: dict[str, Answer] = {}
    for client in (client for answer in answers for client in answer["clients"] if client["streams"]):
        total = found.setdefault(client["client"], {"requested": 0, "streams": {}, "idle_s": client["idle_s"]})
        total["requested"] += client["requested"]
        total["streams"] |= dict.fromkeys(client["streams"])
        total["idle_s"] = min(total["idle_s"], client["idle_s"])
    return found


def _trainer_table(trainers: dict[str, Answer]) -> Table:
    table = _table("trainer", "streams", "+requests", "+last")
    for name, total in trainers.items():
        streams = " ".join(stream[:_DIGITS] for stream in total["streams"])
        table.add_row(Text(one_line(name)), streams, f"{total['requested']:,}", f"{total['idle_s']:.0f} s ago")
    return table


def _table(*headings: str) -> Table:
    """Return an empty table. Columns whose heading begins with a plus hold numbers, on the right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        if heading.startswith("+"):
            table.add_column(heading[1:], justify="right")
        else:
            table.add_column(heading, overflow="fold")
    return table


def _milliseconds(seconds: float, n: int) -> str:
    return f"{1000 * seconds / n:,.1f}" if n else ""


def _duration(seconds: float) -> str:
    """Return a time in its two largest units.

    >>> _duration(59), _duration(3700), _duration(90_000)
    ('59 s', '1 h 1 min', '1 d 1 h')
    """
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"
