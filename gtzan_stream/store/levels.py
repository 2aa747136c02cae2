"""Measure how loud clips are."""

from collections.abc import Callable

import numpy as np

from gtzan_stream.audio import FULL_SCALE
from gtzan_stream.errors import BadSample
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader

SILENT_DB = -96.0
"""Level of a clip with nothing louder than half a step of 16 bits."""


def levels_db(
    manifest: Manifest, clips: np.ndarray, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> np.ndarray:
    """Measure the level of clips: the root mean square in decibels relative to full scale, at least `SILENT_DB`.

    Parameters
    ----------
    manifest : Manifest
    clips : int64 [clip]
        Indices of the clips to decode.
    progress : callable (done, total)

    Returns
    -------
    float64 [clip]
        A full-scale square wave has 0 dB, a sine -3 dB. NaN for clips that cannot be read.
    """
    levels = np.full(len(clips), np.nan)
    reader = ClipReader(manifest)
    try:
        for i, clip in enumerate(clips.tolist()):
            samples: np.ndarray = np.empty(int(manifest.frames[clip]), reader.dtype)
            try:
                reader.read(clip, 0, samples)
            except BadSample:
                continue
            finally:
                progress(i + 1, len(clips))
            waveform = samples.astype(np.float64) / (FULL_SCALE if samples.dtype == np.int16 else 1)
            power = float(np.mean(waveform**2))
            levels[i] = max(10 * np.log10(power), SILENT_DB) if power > 0 else SILENT_DB
    finally:
        reader.close()
    return levels
