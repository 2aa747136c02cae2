"""The streams that clients have opened at a server, and the batches that it makes of them, each once.

`Streams` belongs to the server's main thread. What takes time runs in its threads: on the CPU one, which computes row
after row, because a machine runs a server for each core; on a GPU two, as in a loader.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import zmq

from gtzan_stream.dsp.backend import RowThreads
from gtzan_stream.epochs import Epochs
from gtzan_stream.features import LogMel
from gtzan_stream.features.check import n_rows
from gtzan_stream.service.batches import message_of
from gtzan_stream.service.cache import ReplyCache
from gtzan_stream.service.counters import StreamCounters
from gtzan_stream.service.probe import digest_of_probe
from gtzan_stream.service.protocol import NoSuchStream, encode
from gtzan_stream.service.stream import Stream
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.words import short_repr

_MAX_STREAMS = 64
Place = tuple[int, int, int, int]
"""Epoch, number, rank and world size of a batch."""
CallSoon = Callable[[Callable[[], None]], None]
"""Calls a function in the main thread; may be called from any thread."""


@dataclass(frozen=True)
class Reply:
    """The frames of a reply: header and arrays."""

    frames: list[Any]

    @property
    def n_bytes(self) -> int:
        """Size of all frames."""
        return sum(memoryview(frame).nbytes for frame in self.frames)


@dataclass
class OpenStream:
    """A stream that a client has opened: its settings, its loader or evaluation, the reply to "open", and counters."""

    stream: Stream
    opening: Future[tuple[Epochs, Reply]]
    counters: StreamCounters = field(default_factory=StreamCounters)

    def close(self) -> None:
        """Close the loader, if it could be opened."""
        with suppress(Exception):  # an error was reported to the clients that wait for it
            self.opening.result(0)[0].close()


class Streams:
    """The open streams of a server, and the cache of their batches.

    Parameters
    ----------
    manifest : Manifest
    device : torch.device
    max_bytes : int
        Size of the batches that are kept, and largest size of one.
    allow : collection of str
        Names "module:function" that streams may use.
    call_soon : callable
        See `CallSoon`.
    """

    def __init__(
        self, manifest: Manifest, device: torch.device, *, max_bytes: int, allow: Collection[str], call_soon: CallSoon
    ) -> None:
        self._manifest, self._device, self._call_soon = manifest, device, call_soon
        self._limits: dict[str, Any] = {"allow": frozenset(allow), "max_bytes": max_bytes}
        self._max_bytes, self._cache = max_bytes, ReplyCache(max_bytes)
        self._streams = OrderedDict[str, OpenStream]()
        self._threads = RowThreads(1 if device.type == "cpu" else 2)
        self._threads.pool.submit(_load_kernels, LogMel(), device)  # while clients are connecting

    def open(self, stream: Stream) -> tuple[Future[Reply], bool]:
        """Open a stream, and return the future of the reply, and whether it was not open before."""
        opened = self._streams.get(stream.digest)
        is_new = opened is None
        if opened is None:
            opening = self._threads.pool.submit(_open, stream, self._manifest, self._device, **self._limits)
            opened = self._streams[stream.digest] = OpenStream(stream, opening)
            if len(self._streams) > _MAX_STREAMS:
                self._streams.popitem(last=False)  # not closed, because batches of it may still be made
        reply: Future[Reply] = Future()

        def finish(opening: Future[tuple[Epochs, Reply]]) -> None:
            if opening.cancelled():
                return
            error = opening.exception()
            if error is None:
                reply.set_result(opening.result()[1])
                return
            found = self._streams.get(stream.digest)
            if found and found.opening is opening:
                del self._streams[stream.digest]  # so that the next client tries again
            reply.set_exception(error)

        opened.opening.add_done_callback(lambda opening: self._call_soon(partial(finish, opening)))
        return reply, is_new

    def find(self, digest: object) -> OpenStream:
        """Return an open stream. Raises NoSuchStream if it is not open."""
        opened = self._streams.get(digest) if isinstance(digest, str) else None
        if opened is None:
            raise NoSuchStream(f"this server has not opened the stream {short_repr(digest)}")
        self._streams.move_to_end(opened.stream.digest)
        return opened

    def get(self, opened: OpenStream, place: Place) -> Future[Reply]:
        """Return the future of a batch, which is made unless it is in the cache or being made."""
        key = (opened.stream.digest, *place)
        opened.counters.requested += 1
        return self._cache.get(key, lambda: self._begin(key, opened, place))

    def _begin(self, key: tuple[Any, ...], opened: OpenStream, place: Place) -> Future[Reply]:
        """Start making a batch."""
        future = self._threads.pool.submit(_make, opened, place)

        def finish(made: Future[Reply]) -> None:
            failed = made.cancelled() or made.exception() is not None
            if failed:
                opened.counters.failed += 1
            else:
                opened.counters.add_made(*place)
            self._cache.finish(key, 0 if failed else made.result().n_bytes)

        # A future keeps its callbacks. One that referred to it would keep its reply until Python looks for cycles.
        future.add_done_callback(lambda made: self._call_soon(partial(finish, made)))
        return future

    def to_dict(self) -> dict[str, Any]:
        """Return the state of the cache and the counters of the streams as a dict that JSON can hold."""
        return {
            "cache": {"batches": len(self._cache), "bytes": self._cache.n_bytes, "max_bytes": self._max_bytes},
            "streams": [
                {"stream": digest, "settings": opened.stream.to_dict(), **opened.counters.to_dict()}
                for digest, opened in self._streams.items()
            ],
        }

    def close(self) -> None:
        """End the threads and close the streams."""
        self._threads.close()
        for opened in self._streams.values():
            opened.close()


def _load_kernels(features: LogMel, device: torch.device) -> None:
    """Load what most batches need, which takes half a second. An error comes again when a stream is opened."""
    n_rows(features.to(device), device)


def _open(stream: Stream, manifest: Manifest, device: torch.device, **limits: Any) -> tuple[Epochs, Reply]:
    """Open the loader of a stream, make its probe batch, and write the reply."""
    loader = stream.open(manifest, device, **limits)
    header = {"stream": stream.digest, "n_batches": len(loader), "probe": digest_of_probe(loader)}
    return loader, Reply([encode(header)])


def _make(opened: OpenStream, place: Place) -> Reply:
    """Make a batch, as the frames of a reply."""
    loader, _ = opened.opening.result()
    begun = time.perf_counter()
    header, arrays = message_of(loader.make_at(*place).to("cpu"))
    opened.counters.making_s += time.perf_counter() - begun
    features = zmq.Frame(arrays[0].reshape(-1).view(np.uint8), track=False, copy=False)
    return Reply([encode(header), features, b"".join(array.tobytes() for array in arrays[1:])])
