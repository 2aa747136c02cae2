"""A crop in a page: its sound, its waveform and its features."""

from typing import NamedTuple

import numpy as np

from gtzan_stream.geometry import Geometry
from gtzan_stream.pages.pictures import Scale, heat_map_uri, waveform_path
from gtzan_stream.pages.sound import sound_uri


class Crop(NamedTuple):
    """What the macro `sound` of the templates shows.

    Attributes
    ----------
    sound, picture : str
        Data URIs.
    path : str
        The waveform, as an SVG path.
    words : str
        Text below the pictures.
    """

    sound: str
    picture: str
    path: str
    words: str


def draw_crop(
    samples: np.ndarray,
    image: np.ndarray,
    words: str,
    *,
    geometry: Geometry,
    valid_frames: int,
    scale: Scale,
    full_scale: float,
) -> Crop:
    """Draw and encode a crop.

    Parameters
    ----------
    samples : float32 [``geometry.read_length``]
        What its features were computed from.
    image : float32 [row, frame]
        Its features.
    words : str
        Text below the pictures.
    geometry : Geometry
    valid_frames : int
        Frames inside the clip. After the last sample that they read there is silence, as there is for the network.
    scale : Scale
        Of the colours.
    full_scale : float
        The value that fills the waveform's picture and is played as loud as possible: see `peak`.
    """
    heard = samples.copy()
    heard[geometry.span(max(valid_frames, 1)) :] = 0
    shown = heard[geometry.context : geometry.context + geometry.stride]
    return Crop(
        sound=sound_uri(heard, geometry.sample_rate, full_scale),
        picture=heat_map_uri(image, scale),
        path=waveform_path(shown, full_scale),
        words=words,
    )


def peak(*waveforms: np.ndarray) -> float:
    """Return the largest finite |sample| of crops that are compared, and 1 if all are silent."""
    finite = (np.nan_to_num(waveform, nan=0.0, posinf=0.0, neginf=0.0) for waveform in waveforms)
    return max(float(np.abs(samples).max()) for samples in finite) or 1.0


def gain_words(full_scale: float) -> str:
    """Describe how much louder or quieter crops are played if `full_scale` is played as loud as possible.

    >>> gain_words(0.1), gain_words(2.0), gain_words(1.0)
    ('played 20 dB louder', 'played 6 dB quieter', '')
    """
    decibels = round(-20 * float(np.log10(full_scale)))
    return f"played {abs(decibels)} dB {'louder' if decibels > 0 else 'quieter'}" if decibels else ""
