"""Make small audio files as real encoders and recorders write them, with soundfile and struct."""

import io
import struct

import numpy as np
import soundfile

RATE = 22050
N = 66150
MP3_FRAME = 576  # samples, below 32 kHz


def tone(n: int = N, hz: float = 440.0, rate: int = RATE) -> np.ndarray:
    """Return a tone with noise in its second half, so that a variable bit rate varies: float64 [n]."""
    time = np.arange(n) / rate
    return 0.3 * np.sin(2 * np.pi * hz * time) + 0.1 * np.random.default_rng(0).standard_normal(n) * (
        2 * time > time[-1]
    )


def encoded(samples: np.ndarray, format: str, subtype: str | None = None, rate: int = RATE, **options: object) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype, **options)
    return file.getvalue()


def mp3(mode: str = "CONSTANT", rate: int = RATE, samples: np.ndarray | None = None) -> bytes:
    """Return an MP3 with a tag that states its length."""
    samples = tone() if samples is None else samples
    return encoded(samples, "MP3", "MPEG_LAYER_III", rate, bitrate_mode=mode, compression_level=0.2)


def first_frame_length(data: bytes) -> int:
    """Return the size in bytes of the first frame of an MP3 (layer III)."""
    mpeg1 = data[1] >> 3 & 3 == 3
    kbps = (
        (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
        if mpeg1
        else (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    )[data[2] >> 4]
    hz = ((44100, 48000, 32000) if mpeg1 else (22050, 24000, 16000))[data[2] >> 2 & 3]
    return (144000 if mpeg1 else 72000) * kbps // hz + (data[2] >> 1 & 1)


def without_tag(data: bytes) -> bytes:
    """Remove the first frame, which states the length: encoders that write to a pipe omit it."""
    return data[first_frame_length(data) :]


def wav(samples: np.ndarray, *, size: int | None = None, rate: int = RATE, after: bytes = b"") -> bytes:
    """Return a 16-bit mono WAV file of samples in the range of int16.

    `size` and `rate` go into the header as they are; the bytes `after` follow the samples.
    """
    raw = samples.astype("<i2").tobytes()
    fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    data = b"data" + struct.pack("<I", len(raw) if size is None else size) + raw + after
    return b"RIFF" + struct.pack("<I", 4 + len(fmt) + len(data)) + b"WAVE" + fmt + data


def with_size(data: bytes, chunk: bytes, size: bytes, offset: int = 4) -> bytes:
    """Write `size` into the header of the first chunk with that name."""
    start = data.index(chunk) + offset
    return data[:start] + size + data[start + len(size) :]
