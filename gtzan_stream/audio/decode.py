"""Audio files to mono waveforms.

A `source` is a path, the bytes of a whole file, or a seekable binary file. Everything is read block by block, mixed
down and resampled on the way, so that an hour of six channels never lies in memory as such. A clip has as many samples
as decode: what a header or a library says of its length is only compared with that.
"""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

import numpy as np
import soundfile
import soxr

from gtzan_stream.audio.encode import FULL_SCALE, quantise
from gtzan_stream.audio.ffmpeg import FfmpegReading
from gtzan_stream.audio.libsndfile import SoundfileReading, readings

Source = str | os.PathLike | bytes | io.IOBase
Reading = SoundfileReading | FfmpegReading

RATES = range(1000, 768_001)  # Hz; a header that says another rate is wrong
LARGEST = 1e12  # where full scale is 1: squares of a spectrum of such samples are finite, those of 1e16 are not


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says: `frames` at its own `sample_rate` (Hz), names of its format and encoding.

    `frames` is a guess in some formats, and 0 where the header leaves it open.
    """

    frames: int
    sample_rate: int
    channels: int
    format: str
    encoding: str

    @property
    def is_pcm16(self) -> bool:
        """Whether the samples are 16-bit integers, compressed without loss or not at all."""
        return self.encoding == "PCM_16"


@dataclass(frozen=True)
class Pcm:
    """A decoded clip: `samples` int16 [time] at `sample_rate`.

    `n_clipped` samples lay beyond full scale and were clamped; `damage` says why a part of the sound is missing, and is
    empty if none is.
    """

    samples: np.ndarray
    sample_rate: int
    n_clipped: int
    source: AudioInfo
    damage: str = ""


@contextmanager
def _open(source: Source, *, header_only: bool = False) -> Iterator[list[Reading]]:
    """Open a file as one reading, or as several of streams that are chained in it; `header_only` as its header says.

    libsndfile gets a file object, never a path: beside `x.mp3` it would open macOS's `._x.mp3`.
    """
    with ExitStack() as stack:
        if isinstance(source, bytes):
            file: Any = io.BytesIO(source)
        elif isinstance(source, io.IOBase):
            file = source
        else:
            file = stack.enter_context(open(source, "rb"))
        try:
            opened: list[Reading] = [*readings(file, stack, header_only=header_only)]
        except (soundfile.LibsndfileError, TypeError, RuntimeError) as error:
            opened = [FfmpegReading(file, stack, _reason(error))]
        for reading in opened:
            if reading.sample_rate not in RATES:
                raise ValueError(
                    f"its header says {reading.sample_rate} Hz, expected {RATES[0]} to {RATES[-1]} Hz: "
                    "correct the header, or leave the file out"
                )
        try:
            yield opened
        except soundfile.LibsndfileError as error:
            raise ValueError(f"soundfile cannot decode it: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    words = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return words.strip().rstrip(".") or "its data are damaged"


def _describe(opened: Sequence[Reading]) -> AudioInfo:
    first = opened[0]
    frames = sum(reading.frames for reading in opened)
    return AudioInfo(frames, first.sample_rate, first.channels, first.format, first.encoding)


def info(source: Source) -> AudioInfo:
    """Read a header. Raises ValueError where there is no audio, or an impossible sample rate."""
    with _open(source, header_only=True) as opened:
        return _describe(opened)


def _blocks(opened: Sequence[Reading], sample_rate: int) -> Iterator[np.ndarray]:
    """Blocks [time] at `sample_rate`: int16 of what is that already, mono and 16-bit; else float32, channels averaged.

    Streams of one rate that follow each other are resampled as one, so that no rounding of lengths adds up.
    """
    for rate, group in groupby(opened, key=lambda reading: reading.sample_rate):
        streams = list(group)
        if rate == sample_rate and all(one.encoding == "PCM_16" and one.channels == 1 for one in streams):
            yield from (block[:, 0] for one in streams for block in one.blocks("int16"))
        elif rate == sample_rate:
            yield from _mono(streams)
        else:
            resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
            yield from map(resampler.resample_chunk, _mono(streams))
            yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def _mono(streams: Sequence[Reading]) -> Iterator[np.ndarray]:
    """Float32 blocks [time] of streams that follow each other, channels averaged."""
    position = 0
    for block in chain.from_iterable(stream.blocks("float32") for stream in streams):
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is named below
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        check_samples(mono, position)
        position += len(mono)
        yield mono


def check_samples(samples: np.ndarray, first: int) -> None:
    """Raise ValueError if float samples [time] are no sound: not finite, or so large that a spectrogram would overflow.

    `first` is the number of their first sample.
    """
    fine = np.abs(samples) <= LARGEST  # not NaN either
    if not fine.all():
        position = int(np.argmin(fine))
        value = samples[position]
        what = f"is {value:g}, where full scale is 1" if np.isfinite(value) else "is not a finite number"
        raise ValueError(f"sample {first + position} {what}")


def _widened(block: np.ndarray) -> np.ndarray:
    return block / np.float32(FULL_SCALE) if block.dtype == np.int16 else block


def decode(source: Source, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Decode a whole file, channels averaged.

    Parameters
    ----------
    source : path, bytes or binary file
        Any format that soundfile reads, or FFmpeg where the extra ``av`` is installed.
    sample_rate : int, optional
        Rate to resample to, in Hz (soxr, high quality); the file's own by default.

    Returns
    -------
    waveform : ndarray [time], float32
        Full scale at +/-1.
    sample_rate : int
        In Hz.

    Raises
    ------
    ValueError
        If the file cannot be decoded, or holds a sample that is not finite or beyond `LARGEST`.

    Examples
    --------
    >>> from gtzan_stream.audio import encode
    >>> tone = np.sin(2 * np.pi * 441 * np.arange(44100) / 44100)
    >>> waveform, rate = decode(encode(quantise(tone), 44100), sample_rate=22050)
    >>> len(waveform), rate, int(np.abs(np.fft.rfft(waveform)).argmax())  # one second of 441 Hz
    (22050, 22050, 441)
    """
    with _open(source) as opened:
        rate = sample_rate or opened[0].sample_rate
        blocks = [_widened(block) for block in _blocks(opened, rate)]
    return np.concatenate([*blocks, np.empty(0, np.float32)]), rate


def decode_pcm16(source: Source, sample_rate: int | None = None) -> Pcm:
    """Decode a whole file to 16 bits; the samples of a mono 16-bit file at `sample_rate` stay as they are.

    Parameters
    ----------
    source, sample_rate
        As for `decode`.

    Raises
    ------
    ValueError
        As for `decode`.
    """
    with _open(source) as opened:
        described = _describe(opened)
        rate = sample_rate or described.sample_rate
        n_clipped, blocks = 0, [np.empty(0, np.int16)]
        for block in _blocks(opened, rate):
            n_clipped += int(np.count_nonzero(np.abs(block) > 1)) if block.dtype == np.float32 else 0
            blocks.append(quantise(block) if block.dtype == np.float32 else block)
        damage = "; ".join(reading.damage for reading in opened if reading.damage)
    return Pcm(np.concatenate(blocks), rate, n_clipped, described, damage)


def read_segment(file: io.IOBase, start: int, out: np.ndarray) -> None:
    """Fill `out` (float32 [time]) with the samples from `start` on of an open file of PCM or FLAC, channels averaged.

    Other codecs cannot seek, or decode differently after it, and a header may not say the length: `decode` those whole.

    Raises
    ------
    ValueError
        If the file cannot be decoded, is of another codec, or ends before `out` is full.
    """
    with _open(file) as (reading, *_):
        if not isinstance(reading, SoundfileReading) or not reading.encoding.startswith(("PCM", "FLOAT", "DOUBLE")):
            raise ValueError(f"{reading.encoding} cannot be read in part")
        position = reading.sound.seek(min(start, reading.frames))
        frames = reading.sound.read(len(out), dtype="float32", always_2d=True)
    if position < start or len(frames) < len(out):
        raise ValueError(f"it ends at sample {position + len(frames)}, {start + len(out)} were expected")
    np.mean(frames, axis=1, out=out)
