"""Pictures in a page: spectrograms as small PNGs with a palette, waveforms as paths of an SVG."""

import io
from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from PIL import Image

COLOURS = "magma"
_MARKS_HZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
_NEAREST = 0.07  # share of the height that two labels must be apart


class Scale(NamedTuple):
    """The values that the darkest and the brightest colour stand for.

    Colours go with the square root of the distance from `low`, so that quiet sounds can be seen beside loud ones.
    """

    low: float
    high: float

    @property
    def middle(self) -> float:
        """The value of the middle colour."""
        return self.low + (self.high - self.low) / 4

    def colour(self, values: np.ndarray) -> np.ndarray:
        """Return the colour of each value, uint8: 0 is the darkest. What is not finite is 0, or 255 for infinity."""
        shares = np.nan_to_num((values - self.low) / (self.high - self.low), nan=0.0, posinf=1.0, neginf=0.0)
        return (255 * np.sqrt(np.clip(shares, 0, 1))).round().astype(np.uint8)

    @classmethod
    def of(cls, images: Sequence[np.ndarray]) -> "Scale":
        """Return a scale for pictures that are compared: from the least value to nearly the greatest."""
        values = np.concatenate([np.empty(0), *(image[np.isfinite(image)] for image in images)])
        if not len(values):
            return cls(0.0, 1.0)
        low, high = float(values.min()), float(np.percentile(values, 99.8))
        return cls(low, high if high > low else low + 1)


class Tick(NamedTuple):
    """A mark on an axis: its distance from the bottom as a share of the height, and its label."""

    share: float
    label: str


def heat_map_uri(image: np.ndarray, scale: Scale) -> str:
    """Draw an image [row, column], row 0 at the bottom, as a PNG data URI with one pixel for each value."""
    return _png_uri(scale.colour(image[::-1]))


def scale_uri() -> str:
    """Draw all colours from the darkest to the brightest, as a PNG data URI."""
    return _png_uri(np.arange(256, dtype=np.uint8)[None])


def _png_uri(colours: np.ndarray) -> str:
    """Write an image of colour numbers, uint8 [row, column], as a PNG with a palette, as a data URI."""
    picture = Image.fromarray(colours, "L")
    red_green_blue = colormaps[COLOURS](np.arange(256))[:, :3]
    picture.putpalette((red_green_blue * 255).round().astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(file.getvalue()).decode()


def hz_ticks(centres_hz: np.ndarray) -> list[Tick]:
    """Choose marks in Hz for the rows of a spectrogram.

    Parameters
    ----------
    centres_hz : float [row]
        Frequency of each row, rising.

    Examples
    --------
    >>> [tick.label for tick in hz_ticks(np.linspace(0, 8000, 129))]
    ['500', '2k', '5k']
    """
    inside = [hz for hz in _MARKS_HZ if centres_hz[0] <= hz <= centres_hz[-1]]
    rows = np.interp(inside, centres_hz, np.arange(len(centres_hz)))
    ticks: list[Tick] = []
    for hz, row in zip(inside, rows, strict=True):
        share = float((row + 0.5) / len(centres_hz))
        if share > _NEAREST / 2 and (not ticks or share - ticks[-1].share > _NEAREST):
            ticks.append(Tick(share, f"{hz // 1000}k" if hz >= 1000 else str(hz)))
    return ticks


def waveform_path(samples: np.ndarray, full_scale: float = 1.0, columns: int = 240) -> str:
    """Draw a waveform [time] as an SVG path in a box of `columns` x 200, whose height is +/-`full_scale`.

    Each column covers the range of its samples, and is one unit high at least.

    Examples
    --------
    >>> waveform_path(np.array([0.5, 0.5, -1.0, 1.0]), columns=2)
    'M0 50L1 0L1 200L0 51Z'
    """
    columns = min(columns, len(samples))
    starts = np.arange(columns) * len(samples) // columns
    shown = np.clip(np.nan_to_num(samples, nan=0.0) / full_scale, -1, 1)
    top = np.minimum(100 - 100 * np.maximum.reduceat(shown, starts), 199)
    bottom = np.maximum(100 - 100 * np.minimum.reduceat(shown, starts), top + 1)
    there = [f"{x} {y:.0f}" for x, y in enumerate(top)]
    back = [f"{x} {y:.0f}" for x, y in enumerate(bottom)]
    return f"M{'L'.join([*there, *reversed(back)])}Z"
