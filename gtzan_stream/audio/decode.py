"""Decode audio files to mono waveforms.

A `source` is a path, the bytes of a whole file, or a seekable binary file. Files are read, mixed down and resampled in
blocks, so an hour of six channels is never in memory at once. The length of a clip is the number of samples that
decode; a length stated by a header or a library is only compared with it.
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
from gtzan_stream.audio.ffmpeg import FfmpegDecoder
from gtzan_stream.audio.libsndfile import SoundfileDecoder, open_decoders

Source = str | os.PathLike | bytes | io.IOBase
Decoder = SoundfileDecoder | FfmpegDecoder

RATES = range(1000, 768_001)
"""Possible sample rates in Hz; a header with another one is wrong."""
LARGEST = 1e12
"""Largest accepted float sample, with full scale at 1. Larger ones may overflow float32 in a power spectrum."""


@dataclass(frozen=True)
class AudioInfo:
    """Contents of a file's header: number of `frames`, `sample_rate` in Hz, and names of its format and encoding.

    `frames` is a guess in some formats, and 0 if the header does not state it.
    """

    frames: int
    sample_rate: int
    channels: int
    format: str
    encoding: str


@dataclass(frozen=True)
class Pcm:
    """A decoded clip: `samples` int16 [time] at `sample_rate`.

    `n_clipped` samples were beyond full scale and were clamped. `damage` says why part of the sound is missing; it is
    empty if the file is whole.
    """

    samples: np.ndarray
    sample_rate: int
    n_clipped: int
    source: AudioInfo
    damage: str = ""


@contextmanager
def _open(source: Source, *, header_only: bool = False) -> Iterator[list[Decoder]]:
    """Open a file and yield a decoder for each of the streams that are chained in it; one, for most files.

    With `header_only`, the length is the one that the header states. libsndfile gets a file object and not a path, as
    it would open macOS's `._x.mp3` along with `x.mp3`.
    """
    with ExitStack() as stack:
        if isinstance(source, bytes):
            file: Any = io.BytesIO(source)
        elif isinstance(source, io.IOBase):
            file = source
        else:
            file = stack.enter_context(open(source, "rb"))
        try:
            opened: list[Decoder] = [*open_decoders(file, stack, header_only=header_only)]
        except (soundfile.LibsndfileError, TypeError, RuntimeError) as error:
            opened = [FfmpegDecoder(file, stack, _reason(error))]
        for decoder in opened:
            if decoder.sample_rate not in RATES:
                raise ValueError(
                    f"its header says {decoder.sample_rate} Hz, expected {RATES[0]} to {RATES[-1]} Hz: "
                    "correct the header, or leave the file out"
                )
        try:
            yield opened
        except soundfile.LibsndfileError as error:
            raise ValueError(f"soundfile cannot decode it: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    words = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return words.strip().rstrip(".") or "its data are damaged"


def _describe(opened: Sequence[Decoder]) -> AudioInfo:
    first = opened[0]
    frames = sum(decoder.frames for decoder in opened)
    return AudioInfo(frames, first.sample_rate, first.channels, first.format, first.encoding)


def info(source: Source) -> AudioInfo:
    """Read a file's header. Raises ValueError if it is not audio or has an impossible sample rate."""
    with _open(source, header_only=True) as opened:
        return _describe(opened)


def _blocks(opened: Sequence[Decoder], sample_rate: int) -> Iterator[np.ndarray]:
    """Yield blocks [time] at `sample_rate`: int16 if the file is mono, 16-bit and at that rate, else float32.

    Consecutive streams of one rate are resampled as one, so that rounded lengths do not add up. Channels are averaged.
    """
    for rate, group in groupby(opened, key=lambda decoder: decoder.sample_rate):
        streams = list(group)
        if rate == sample_rate and all(one.encoding == "PCM_16" and one.channels == 1 for one in streams):
            yield from (block[:, 0] for one in streams for block in one.blocks("int16"))
        elif rate == sample_rate:
            yield from _mono(streams)
        else:
            resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
            yield from map(resampler.resample_chunk, _mono(streams))
            yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def _mono(streams: Sequence[Decoder]) -> Iterator[np.ndarray]:
    """Yield float32 blocks [time] of consecutive streams, with channels averaged."""
    position = 0
    for block in chain.from_iterable(stream.blocks("float32") for stream in streams):
        with np.errstate(over="ignore"):  # values that overflow become infinite, which check_samples reports
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        check_samples(mono, position)
        position += len(mono)
        yield mono


def check_samples(samples: np.ndarray, first: int) -> None:
    """Raise ValueError if float samples [time] are not finite or beyond `LARGEST`.

    `first` is the index of the first of them in the clip, for the message.
    """
    is_valid = np.abs(samples) <= LARGEST  # false for NaN
    if not is_valid.all():
        position = int(np.argmin(is_valid))
        value = samples[position]
        what = f"is {value:g}, where full scale is 1" if np.isfinite(value) else "is not a finite number"
        raise ValueError(f"sample {first + position} {what}")


def _as_float32(block: np.ndarray) -> np.ndarray:
    return block / np.float32(FULL_SCALE) if block.dtype == np.int16 else block


def decode(source: Source, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Decode a whole file to a mono waveform; channels are averaged.

    Parameters
    ----------
    source : path, bytes or binary file
        In any format that soundfile reads; with the extra ``av`` also those that FFmpeg reads.
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
        If the file cannot be decoded, or has a sample that is not finite or beyond `LARGEST`.

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
        blocks = [_as_float32(block) for block in _blocks(opened, rate)]
    return np.concatenate([*blocks, np.empty(0, np.float32)]), rate


def decode_pcm16(source: Source, sample_rate: int | None = None) -> Pcm:
    """Decode a whole file to 16-bit mono. The samples of a file that is 16-bit mono at `sample_rate` are unchanged.

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
        damage = "; ".join(decoder.damage for decoder in opened if decoder.damage)
    return Pcm(np.concatenate(blocks), rate, n_clipped, described, damage)


def read_segment(file: io.IOBase, start: int, out: np.ndarray) -> None:
    """Fill `out`, float32 [time], with samples of an open PCM or FLAC file from `start` on; channels are averaged.

    Other codecs cannot seek, or decode other samples after seeking: use `decode` for them.

    Raises
    ------
    ValueError
        If the file cannot be decoded, has another codec, or ends before `out` is full.
    """
    with _open(file) as (decoder, *_):
        if not isinstance(decoder, SoundfileDecoder) or not decoder.encoding.startswith(("PCM", "FLOAT", "DOUBLE")):
            raise ValueError(f"{decoder.encoding} cannot be read in part")
        position = decoder.sound.seek(min(start, decoder.frames))
        frames = decoder.sound.read(len(out), dtype="float32", always_2d=True)
    if position < start or len(frames) < len(out):
        raise ValueError(f"it ends at sample {position + len(frames)}, {start + len(out)} were expected")
    np.mean(frames, axis=1, out=out)
