"""Audio files to mono waveforms and back: the only file that knows soundfile and soxr.

A `source` is a path, the bytes of a whole file, or a seekable binary file. Everything is read block by block, mixed
down and resampled on the way, so that an hour of six channels never lies in memory as such.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

Source = str | os.PathLike | bytes | io.IOBase

FULL_SCALE = 32768
BLOCK = 1 << 16
CODECS = {"wav": "PCM_16", "flac": "PCM_16"}
_UNKNOWN_FRAMES = 1 << 40


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says: `frames` at its own `sample_rate` (Hz), libsndfile's names of format and encoding.

    `frames` is 0 where the header leaves it open.
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
    """A decoded clip: `samples` int16 [time] at `sample_rate`, from `decoded` frames of the source.

    `overs` samples lay beyond full scale and were clamped.
    """

    samples: np.ndarray
    sample_rate: int
    overs: int
    source: AudioInfo
    decoded: int


class _Forward(soundfile.SoundFile):
    """A file read from its beginning to its end.

    soundfile seeks after every read of a file that can be sought, to where it already is; lossy decoders lose their
    state by that, and every block would begin wrong.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _open(source: Source) -> Iterator[_Forward]:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with _Forward(file) as sound:
            yield sound
    except soundfile.LibsndfileError as error:
        raise ValueError(f"soundfile cannot decode it: {error.error_string.rstrip('.')}") from error
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"soundfile cannot decode it: {error}") from error


def _describe(sound: _Forward) -> AudioInfo:
    return AudioInfo(
        sound.frames if sound.frames < _UNKNOWN_FRAMES else 0,
        sound.samplerate,
        sound.channels,
        sound.format,
        sound.subtype,
    )


def info(source: Source) -> AudioInfo:
    """Read a header. Raises ValueError where soundfile finds no audio."""
    with _open(source) as sound:
        return _describe(sound)


def _blocks(sound: _Forward, dtype: str) -> Iterator[np.ndarray]:
    """Blocks [time, channel] up to the file's end, each in memory of its own."""
    while len(block := sound.read(BLOCK, dtype=dtype, always_2d=True)):
        yield block


def _mono_blocks(sound: _Forward, sample_rate: int) -> Iterator[np.ndarray]:
    """Float32 blocks [time], channels averaged, at `sample_rate`."""
    resampler = None
    if sound.samplerate != sample_rate:
        resampler = soxr.ResampleStream(sound.samplerate, sample_rate, 1, dtype="float32")
    position = 0
    for block in _blocks(sound, "float32"):
        mono = block[:, 0] if sound.channels == 1 else block.mean(axis=1)
        if not np.isfinite(mono).all():
            first = position + int(np.argmin(np.isfinite(mono)))
            raise ValueError(f"sample {first} is not a finite number")
        position += len(mono)
        yield mono if resampler is None else resampler.resample_chunk(mono)
    if resampler is not None and position:
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def decode(source: Source, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Decode a whole file, channels averaged.

    Parameters
    ----------
    source : path, bytes or binary file
        Any format soundfile reads.
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
        If the file cannot be decoded or holds a sample that is not finite.

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 441 * np.arange(44100) / 44100)
    >>> waveform, rate = decode(encode(quantise(tone), 44100), sample_rate=22050)
    >>> len(waveform), rate, int(np.abs(np.fft.rfft(waveform)).argmax())  # one second of 441 Hz
    (22050, 22050, 441)
    """
    with _open(source) as sound:
        rate = sample_rate or sound.samplerate
        blocks = list(_mono_blocks(sound, rate))
    return np.concatenate([*blocks, np.empty(0, np.float32)]), rate


def decode_pcm16(source: Source, sample_rate: int) -> Pcm:
    """Decode a whole file to 16 bits at `sample_rate`; the samples of a mono 16-bit file at that rate stay as they are.

    Raises
    ------
    ValueError
        As for `decode`.
    """
    with _open(source) as sound:
        described = _describe(sound)
        overs, blocks = 0, [np.empty(0, np.int16)]
        if described.is_pcm16 and described.channels == 1 and described.sample_rate == sample_rate:
            blocks += [block[:, 0] for block in _blocks(sound, "int16")]
        else:
            for block in _mono_blocks(sound, sample_rate):
                overs += int(np.count_nonzero(np.abs(block) > 1))
                blocks.append(quantise(block))
        decoded = sound.tell()
    return Pcm(np.concatenate(blocks), sample_rate, overs, described, decoded)


def quantise(waveform: np.ndarray) -> np.ndarray:
    """Round to 16 bits, nearest; what lies beyond full scale is clamped, never wrapped.

    Examples
    --------
    >>> quantise(np.array([0.5, 1.0, -1.5])).tolist()
    [16384, 32767, -32768]
    """
    return np.clip(np.rint(waveform * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def encode(samples: np.ndarray, sample_rate: int, codec: str = "wav") -> bytes:
    """Write int16 samples [time] as a mono file of `codec` ``"wav"`` or ``"flac"``, the same bytes every time."""
    if codec not in CODECS:
        raise ValueError(f"unknown codec {codec!r}: choose one of {', '.join(CODECS)}")
    if samples.dtype != np.int16:
        raise TypeError(f"expected int16 samples, got {samples.dtype}; quantise them first")
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=codec.upper(), subtype=CODECS[codec])
    return file.getvalue()


def read_segment(file: io.IOBase, start: int, out: np.ndarray) -> None:
    """Fill `out` (float32 [time]) with the samples from `start` on of an open file, channels averaged.

    PCM and FLAC are sought; lossy codecs are decoded from their beginning, because what libsndfile decodes after a seek
    differs from what it decodes without one.

    Raises
    ------
    ValueError
        If the file cannot be decoded, or ends before `out` is full.
    """
    with _open(file) as sound:
        if sound.subtype.startswith(("PCM", "FLOAT", "DOUBLE")):
            position = sound.seek(min(start, sound.frames))
        else:
            position = _skip(sound, start)
        frames = sound.read(len(out), dtype="float32", always_2d=True)
    if position < start or len(frames) < len(out):
        raise ValueError(f"it ends at sample {position + len(frames)}, {start + len(out)} were expected")
    np.mean(frames, axis=1, out=out)


def _skip(sound: _Forward, frames: int) -> int:
    """Decode and drop `frames`; returns how many there were."""
    done = 0
    while done < frames and (count := len(sound.read(min(BLOCK, frames - done), dtype="float32", always_2d=True))):
        done += count
    return done
