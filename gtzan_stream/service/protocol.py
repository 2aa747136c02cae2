"""Messages of the feature service: a JSON header and raw little-endian arrays, as the frames of a ZeroMQ message.

A request is ``[id, header]``; its reply is ``[id, header, ...]``, for a batch ``[id, header, features, other arrays one
after another]``: a frame of its own for each small array would take longer to send than its bytes. The id is chosen by
the client and comes back unchanged, so the frames of a reply can be kept and sent to several clients.

    request                                                              reply
    {"ask": "hello"}                                                     what the server is; see `Server.describe`
    {"ask": "file", "name": "samples.parquet", "offset": 0}              up to 1 MB of one of the manifest's files
    {"ask": "open", "stream": {...}}                                     digest of a probe batch
    {"ask": "get", "stream": digest, "epoch", "number", "rank", "world_size"}   a batch
    {"ask": "stats"}                                                     counters
    {"ask": "ping"}                                                      how many requests it has finished

A request also has "client", a name for logs. A reply whose header has "error" reports that the request failed; see
`ERRORS`. Nothing in a message is ever unpickled, and no length in a header decides how much memory is allocated: the
frames have their sizes already, and `arrays_of` compares them with the header.
"""

import json
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np

from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.words import one_line, short_repr

VERSION = 1
"""Clients and servers with another number do not understand each other."""
MAX_REQUEST_BYTES = 1 << 20
"""Size of a request's largest frame; the connection of a client that sends more is closed."""
MAX_REPLY_BYTES = 1 << 31
"""Size of a reply's largest frame; the connection of a server that sends more is closed."""
MAX_HEADER_BYTES = 64 << 20
"""Size of the largest header of a reply: the keys of a batch with a million rows fit."""
FILE_BYTES = 1 << 20
"""Bytes of a file in one reply."""
MAX_OPEN_REQUESTS = 16
"""Requests of one connection that a server works on."""
_MAX_MESSAGE = 2000  # characters
_MAX_DEPTH = 64

Header = dict[str, Any]
Expected = tuple[str, str, tuple[int, ...]]
"""Name, type and shape of an array."""


class ServiceError(Exception):
    """A server or its messages are not as they should be; the client asks another server."""


class Refused(ServiceError):
    """The server cannot do what was asked, for the reason `error`: the shard cannot be read there, for instance."""

    def __init__(self, error: UserError | BadSample) -> None:
        super().__init__(str(error))
        self.error = error


class NoSuchStream(ServiceError):
    """The server does not know the stream, for instance because it was restarted: open it again."""


class Busy(ServiceError):
    """The connection has too many open requests."""


ERRORS: dict[str, type[Exception]] = {
    "UserError": UserError,
    "BadSample": BadSample,
    "NoSuchStream": NoSuchStream,
    "Busy": Busy,
    "ServiceError": ServiceError,
}
"""Errors that a reply can report, by the name in its header."""


def encode(header: Header) -> bytes:
    """Return a header as bytes."""
    return json.dumps(header, allow_nan=False, separators=(",", ":")).encode()


def decode(frame: Any) -> Header:
    """Parse a header. Raises ServiceError if it is not a JSON object."""
    if len(frame) > MAX_HEADER_BYTES:
        raise ServiceError(f"a header has {len(frame):,} bytes")
    text = bytes(frame)
    try:
        header = _DECODER.decode(text.decode())
    except (ValueError, RecursionError) as error:
        raise ServiceError(f"a header is not JSON ({short_repr(str(error))})") from None
    if text.count(b"[") + text.count(b"{") > _MAX_DEPTH:  # else it cannot be
        _check_depth(header)
    if not isinstance(header, dict):
        raise ServiceError(f"a header is not a JSON object but {short_repr(header)}")
    return header


def _check_depth(value: Any) -> None:
    """Raise ServiceError if JSON is nested so deeply that recursive functions, such as repr, would fail."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        nested = [item for item in level if isinstance(item, dict | list)]
        level = [inner for item in nested for inner in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return
    raise ServiceError(f"a header is nested more than {_MAX_DEPTH} deep")


def _int(digits: str) -> int:
    """Parse a whole number of at most 64 bits: it can be converted to a float, and printed."""
    number = int(digits) if len(digits) <= 20 else 2**64
    if abs(number) >= 2**63:
        raise ValueError("a number is too large")
    return number


def _float(digits: str) -> float:
    """Parse a finite number."""
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number


_DECODER = json.JSONDecoder(parse_int=_int, parse_float=_float, parse_constant=_float)


def error_header(error: BaseException) -> Header:
    """Return the header that reports an error of the list `ERRORS`; any other becomes a ServiceError."""
    name = next((name for name, kind in ERRORS.items() if isinstance(error, kind)), None)
    message = str(error) if name else f"{type(error).__name__}: {error}"
    return {"error": name or "ServiceError", "message": one_line(message)[:_MAX_MESSAGE]}


def raise_error(header: Header) -> None:
    """Raise the error that a reply reports, if there is one: a ServiceError, or Refused with any other."""
    if "error" in header:
        message = one_line(str(header.get("message", ""))[:_MAX_MESSAGE])
        error = ERRORS.get(str(header["error"]), ServiceError)(message)
        raise Refused(error) if isinstance(error, UserError | BadSample) else error


def layout_of(arrays: Iterable[Expected]) -> str:
    """Describe arrays for a header: name, type and shape of each, as in "features <f4 16x128x128, labels <i8 16"."""
    return ", ".join(f"{name} {dtype} {'x'.join(map(str, shape))}" for name, dtype, shape in arrays)


@lru_cache
def _sizes(expected: tuple[Expected, ...]) -> tuple[str, list[int], list[int]]:
    """Return what a header says of these arrays, how many numbers each has, and how many bytes."""
    counts = [math.prod(shape) for _, _, shape in expected]
    n_bytes = [n * np.dtype(dtype).itemsize for n, (_, dtype, _) in zip(counts, expected, strict=True)]
    return layout_of(expected), counts, n_bytes


def arrays_of(header: Header, frames: Sequence[Any], expected: tuple[Expected, ...]) -> dict[str, Any]:
    """Return the arrays of a reply. They belong to the caller, and the first is in the memory of its frame.

    Parameters
    ----------
    header : dict
        Whose "arrays" is what `layout_of` returns.
    frames : sequence of buffers
        One with the first array, and one with all others, one after another, those of 8-byte numbers first.
    expected : tuple of (name, dtype, shape)
        What the arrays must be.

    Raises
    ------
    ServiceError
        If they are something else.
    """
    stated = header.get("arrays")
    wanted, counts, sizes = _sizes(expected)
    if stated != wanted:
        raise ServiceError(f"expected the arrays {short_repr(wanted)}, got {short_repr(stated)}")
    got = [len(frame) for frame in frames]
    if got != [sizes[0], sum(sizes[1:])]:
        raise ServiceError(f"expected frames of {sizes[0]} and {sum(sizes[1:])} bytes, got {got}")
    rest = np.frombuffer(frames[1], np.uint8).copy()  # the start of a frame is not aligned
    offsets = [0, *accumulate([0, *sizes[1:]])]
    arrays = {
        name: np.frombuffer(rest if i else frames[0], dtype, counts[i], offsets[i]).reshape(shape)
        for i, (name, dtype, shape) in enumerate(expected)
    }
    first = expected[0][0]
    if not arrays[first].flags.aligned:  # a small frame
        arrays[first] = arrays[first].copy()
    return arrays
