"""Read segments of clips from shards: just the bytes that are asked for, straight into the caller's buffer."""

import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from gtzan_stream import audio
from gtzan_stream.audio.view import Section
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.store.decoded import Decoded
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.threads import fork_safe_lock

MAX_OPEN_SHARDS = 256
_ROUNDING = 16  # samples by which a resampler's length may differ from the exact quotient
DECODED_BYTES = 512 << 20  # an hour and a half of music at 22,050 Hz


class ClipReader:
    """Reads any segment of any clip of a manifest, from any number of threads at once.

    Attributes
    ----------
    dtype : int16 or float32
        int16 if every clip is mono 16-bit PCM at the set's rate, to be read as it lies; else float32, full scale +/-1.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.dtype: type = np.int16 if manifest.direct.all() else np.float32
        self._shards = _OpenShards(manifest, MAX_OPEN_SHARDS)
        self._decoded = Decoded(DECODED_BYTES)
        self._known_good: set[int] = set()  # clips with a stretch of zeros that is the clip's own

    def read(self, clip: int, start: int, out: np.ndarray) -> None:
        """Fill `out` with the samples of a clip from `start` on.

        Before its beginning and after its end the clip goes on as its reflection, like ``numpy.pad(mode="reflect")``.

        Parameters
        ----------
        clip : int
            Its number in the manifest.
        start : int
            First sample; may be negative.
        out : ndarray [time] of `dtype`
            Contiguous.

        Raises
        ------
        BadSample
            If the samples cannot be read; names shard and key.
        UserError
            If the set cannot be used any more, as it was packed again.
        """
        frames = int(self.manifest.frames[clip])
        try:
            if start >= 0 and start + len(out) <= frames:
                self._read_inside(clip, start, out)
            elif len(out):
                index = reflected(start, len(out), frames)
                first = int(index.min())
                inside = np.empty(int(index.max()) + 1 - first, out.dtype)
                self._read_inside(clip, first, inside)
                np.take(inside, index - first, out=out)
            if len(out) and not (out[0] or out[-1] or out[len(out) // 2]):  # quick: nearly every read stops here
                self._check_zeros(clip, out)
        except UserError:  # the set, not the sample: must not be skipped
            raise
        except (OSError, ValueError) as error:
            raise BadSample(f"{self.manifest.location(clip)}: {error}") from error

    def close(self) -> None:
        """Close the shards. Reading afterwards is an error."""
        self._shards.close()
        self._decoded.clear()

    def _read_inside(self, clip: int, start: int, out: np.ndarray) -> None:
        manifest = self.manifest
        shard = self._shards.get(int(manifest.shard[clip]))
        if not manifest.direct[clip]:
            self._decode(shard, clip, start, out)
        elif out.dtype == np.int16:
            shard.read_into(_bytes(out), int(manifest.data_offset[clip]) + 2 * start)
        else:
            samples = np.empty(len(out), np.int16)
            shard.read_into(_bytes(samples), int(manifest.data_offset[clip]) + 2 * start)
            np.divide(samples, audio.FULL_SCALE, out=out)

    def _decode(self, shard: "_OpenShard", clip: int, start: int, out: np.ndarray) -> None:
        manifest = self.manifest
        if not manifest.seekable[clip]:
            waveform = self._decoded.get(clip, lambda: self._decode_whole(shard, clip))
            out[:] = waveform[start : start + len(out)]
            return
        with _Member(shard, int(manifest.member_offset[clip]), int(manifest.member_size[clip])) as member:
            try:
                audio.read_segment(member, start, out)
            except ValueError as error:
                raise member.error or error from None
        audio.check_samples(out, start)

    def _decode_whole(self, shard: "_OpenShard", clip: int) -> np.ndarray:
        """Decode a clip from its beginning: lossy codecs give other samples after a seek, and some cannot seek.

        Clips of another rate than the set's are resampled.
        """
        manifest = self.manifest
        waveform, _ = audio.decode(shard.read(*self._member(clip)), manifest.sample_rate)
        expected = int(manifest.frames[clip])
        if manifest.clip_rate[clip] != manifest.sample_rate and abs(len(waveform) - expected) <= _ROUNDING:
            waveform = np.pad(waveform[:expected], (0, max(0, expected - len(waveform))), mode="edge")
        if len(waveform) != expected:
            raise ValueError(
                f"{len(waveform)} samples can be decoded, the manifest says {expected}: index the set again"
            )
        return waveform

    def _check_zeros(self, clip: int, out: np.ndarray) -> None:
        """Raise ValueError if zeros were read that are not the clip's own: a hole in a shard reads as silence."""
        if clip in self._known_good or out.any():
            return
        shard = self._shards.get(int(self.manifest.shard[clip]))
        if hashlib.sha256(shard.read(*self._member(clip))).hexdigest() != self.manifest.sha256[clip].as_py():
            raise ValueError("the shard holds zeros where the clip does not: copy or pack the set again")
        self._known_good.add(clip)

    def _member(self, clip: int) -> tuple[int, int]:
        return int(self.manifest.member_offset[clip]), int(self.manifest.member_size[clip])


def reflected(start: int, length: int, frames: int) -> np.ndarray:
    """Positions, in a clip of `frames` samples, of samples `start` to `start + length` of its endless reflection.

    >>> reflected(-2, 8, 4).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    if frames == 1:
        return np.zeros(length, np.int64)
    period = 2 * (frames - 1)
    index = np.arange(start, start + length) % period
    return np.minimum(index, period - index)


def _bytes(samples: np.ndarray) -> memoryview:
    return samples.data.cast("B")


class _OpenShard:
    """An open shard; closed when nobody holds it any more."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._lock = fork_safe_lock()

    @property
    def removed(self) -> bool:
        """Whether the file has no name any more."""
        return os.fstat(self._file.fileno()).st_nlink == 0

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill `buffer` from byte `offset` on. Raises ValueError if the file ends before."""
        done = 0
        while done < len(buffer):
            count = self._read_some(buffer[done:], offset + done)
            if not count:
                size = os.fstat(self._file.fileno()).st_size
                raise ValueError(f"the shard is truncated: it ends at byte {size}, not after {offset + len(buffer)}")
            done += count

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        """Read at a position, whatever other threads and forked processes read meanwhile; returns how much was read."""
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [buffer], offset)
        if hasattr(os, "pread"):  # macOS before 11
            data = os.pread(self._file.fileno(), len(buffer), offset)
            buffer[: len(data)] = data
            return len(data)
        with self._lock:  # on Windows, which has no fork either: the file has one position, which all threads move
            self._file.seek(offset)
            return self._file.readinto(buffer) or 0

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on. Raises ValueError if the file ends before."""
        data = bytearray(size)
        self.read_into(memoryview(data), offset)
        return bytes(data)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()


class _OpenShards:
    """The shards read last, kept open; one that is dropped while a thread reads it stays open until that has ended."""

    def __init__(self, manifest: Manifest, limit: int) -> None:
        self._manifest, self._limit = manifest, limit
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()
        self._lock = fork_safe_lock()
        self._closed = False

    def get(self, shard: int) -> _OpenShard:
        with self._lock:
            if self._closed:
                raise ValueError("the reader is closed")
            found = self._open.get(shard)
            if found is None:
                for number in [number for number, other in self._open.items() if other.removed]:
                    del self._open[number]  # evicted from the cache: its space is free once it is closed
                found = self._open[shard] = self._opened(self._manifest.shards[shard].name)
                if len(self._open) > self._limit:
                    self._open.popitem(last=False)
            else:
                self._open.move_to_end(shard)
            return found

    def _opened(self, name: str) -> _OpenShard:
        try:
            return _OpenShard(self._manifest.path(name))
        finally:
            self._manifest.folder.check_unchanged()

    def close(self) -> None:
        """Close the shards, and open none any more: a thread may still be asking for one."""
        with self._lock:
            self._closed = True
            self._open.clear()


class _Member(Section):
    """A member of a shard as a file of its own.

    libsndfile calls it and cannot pass on an exception: where a read fails, the file ends, and `error` says why.
    """

    error: Exception | None = None

    def __init__(self, shard: _OpenShard, offset: int, size: int) -> None:
        super().__init__(size)
        self._shard, self._offset = shard, offset

    def readinto(self, buffer: Any) -> int:
        view = self._within(buffer)
        try:
            self._shard.read_into(view, self._offset + self._position)
        except (OSError, ValueError) as error:
            self.error = error
            return 0
        self._position += len(view)
        return len(view)
