"""Counters of a server, by stream and by client, for `gtzan-stream serve --stats`."""

import os
import time
from collections import OrderedDict
from typing import Any

_CLIENT_S = 60.0  # a client that has asked for nothing for so long is not listed
_MAX_CLIENTS = 1000
_EPOCHS = 64  # epochs, and ranks of them, whose batches are remembered to tell which are made again


class StreamCounters:
    """What a stream's batches cost.

    Attributes
    ----------
    requested, made, made_again, failed : int
        Requests for a batch; batches made; those of them that had been made before, and were evicted; batches that
        could not be made.
    making_s, waiting_s : float
        Seconds spent making batches, and seconds that requests waited for their batch.
    """

    def __init__(self) -> None:
        self.requested = self.made = self.made_again = self.failed = 0
        self.making_s = self.waiting_s = 0.0
        self._seen: OrderedDict[tuple[int, int, int], set[int]] = OrderedDict()

    def add_made(self, epoch: int, number: int, rank: int, world_size: int) -> None:
        """Count a batch that was made."""
        seen = self._seen.setdefault((epoch, rank, world_size), set())
        self.made += 1
        self.made_again += number in seen
        seen.add(number)
        if len(self._seen) > _EPOCHS:
            self._seen.popitem(last=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the counters as a dict that JSON can hold."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


class Clients:
    """The last 1,000 clients that have asked for something in the last minute: requests, streams, and when."""

    def __init__(self) -> None:
        self._clients = OrderedDict[str, dict[str, Any]]()

    def add(self, name: str, stream: str | None) -> bool:
        """Count a request, and return whether it is the first of this client for this stream."""
        client = self._clients.setdefault(name, {"requested": 0, "streams": []})
        client["requested"] += 1
        client["last"] = time.monotonic()
        self._clients.move_to_end(name)
        if len(self._clients) > _MAX_CLIENTS:
            self._clients.popitem(last=False)
        if stream is None or stream in client["streams"]:
            return False
        client["streams"] = [*client["streams"][-15:], stream]
        return True

    def forget_old(self) -> None:
        """Forget clients that have asked for nothing for a minute."""
        oldest = time.monotonic() - _CLIENT_S
        self._clients = OrderedDict((name, each) for name, each in self._clients.items() if each["last"] > oldest)

    def to_list(self) -> list[dict[str, Any]]:
        """Return the clients as a list that JSON can hold, with the seconds since each one's last request."""
        self.forget_old()
        now = time.monotonic()
        return [
            {
                "client": name,
                "requested": client["requested"],
                "streams": client["streams"],
                "idle_s": round(now - client["last"], 1),
            }
            for name, client in self._clients.items()
        ]


def cpu_s() -> float:
    """Return the CPU seconds that this process has used."""
    times = os.times()
    return times.user + times.system
