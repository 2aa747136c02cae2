"""Sounds in a page: lossless, as data URIs."""

from base64 import b64encode

import numpy as np

from gtzan_stream.audio import encode, quantise


def sound_uri(samples: np.ndarray, sample_rate: int, full_scale: float = 1.0) -> str:
    """Encode a waveform, float32 [time], as FLAC of 16 bits in a data URI, which browsers play.

    Parameters
    ----------
    samples : float32 [time]
        A sample that is not finite becomes 0.
    sample_rate : int
        Hz.
    full_scale : float
        The value that is played as loud as possible. Samples beyond it are clamped.
    """
    heard = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0) / full_scale
    return "data:audio/flac;base64," + b64encode(encode(quantise(heard), sample_rate, "flac")).decode()
