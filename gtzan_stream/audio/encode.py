"""Convert waveforms to 16 bits and write WAV and FLAC files, and write WAV files of floats."""

import io

import numpy as np
import soundfile

FULL_SCALE = 32768
"""int16 value that corresponds to 1.0."""
CODECS = {"wav": "PCM_16", "flac": "PCM_16"}
"""libsndfile's subtype for each format that can be written. The command line lists them in `commands.options.Codec`."""


def quantise(waveform: np.ndarray) -> np.ndarray:
    """Round a waveform with full scale at +/-1 to int16. Samples beyond full scale are clamped.

    Examples
    --------
    >>> quantise(np.array([0.5, 1.0, -1.5])).tolist()
    [16384, 32767, -32768]
    """
    samples = np.rint(np.clip(waveform, -1, 1) * FULL_SCALE)
    return np.minimum(samples, FULL_SCALE - 1).astype(np.int16)


def encode(samples: np.ndarray, sample_rate: int, codec: str = "wav") -> bytes:
    """Encode int16 samples [time] as a mono file; `codec` is "wav" or "flac". Equal samples give equal bytes."""
    if codec not in CODECS:
        raise ValueError(f"unknown codec {codec!r}: choose one of {', '.join(CODECS)}")
    if samples.dtype != np.int16:
        raise TypeError(f"expected int16 samples, got {samples.dtype}; quantise them first")
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=codec.upper(), subtype=CODECS[codec])
    return file.getvalue()


def encode_float(samples: np.ndarray, sample_rate: int) -> bytes:
    """Encode float samples [time] as a mono WAV file of 32-bit floats, which keeps them exactly."""
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.float32), sample_rate, format="WAV", subtype="FLOAT")
    content = bytearray(file.getvalue())
    written_at = content.index(b"PEAK", 0, content.index(b"data")) + 12  # after the chunk's name, size and version
    content[written_at : written_at + 4] = bytes(4)  # so that equal samples are equal files
    return bytes(content)
