"""Sounds of which the ideal stretch is known, and music to stretch: arrays [time], float64."""

import os
from pathlib import Path

import numpy as np

from benchmarks.lib import clips as packed
from benchmarks.lib.sound_measures import SAMPLE_RATE
from gtzan_stream.errors import UserError

LENGTH = 6 * SAMPLE_RATE
"""Samples of every sound."""
CLICKS = np.array([17_341, 28_123, 34_789, 47_057, 55_001, 68_219, 75_407, 89_123, 99_871, 110_503])
"""Places of the clicks, at uneven distances of 0.3 to 0.6 s."""
CLICKS_ABOVE_HZ = 3000.0
"""Clicks over a chord are looked for above this frequency, where the chord has nothing."""
TONES_HZ = (110.0, 440.0, 997.0, 3520.0)
CLOSE_PARTIALS: dict[str, dict[float, float]] = {
    "41 + 62 + 82": dict.fromkeys((41.0, 62.0, 82.0), 1.0),
    "110 + 139 + 165": dict.fromkeys((110.0, 139.0, 165.0), 1.0),
    "55 and 82 with harmonics": {f0 * k: 1 / k for f0 in (55.0, 82.0) for k in range(1, 7)},
    "440 + 466": dict.fromkeys((440.0, 466.0), 1.0),
    "220 + 440": dict.fromkeys((220.0, 440.0), 1.0),
    "220 + 330": dict.fromkeys((220.0, 330.0), 1.0),
    "880 + 932": dict.fromkeys((880.0, 932.0), 1.0),
    "220 + 277": dict.fromkeys((220.0, 277.0), 1.0),
}
"""Amplitude by frequency in Hz."""
CLIPS = ("00001", "00005")
"""Numbers of the clips of each genre."""
CLIP_START_S = 5
"""Where the music of a clip begins; it is 6 s long."""


def clicks() -> np.ndarray:
    """Return impulses of 0.6 at `CLICKS`: with the chord, they stay below full scale, where files clip."""
    waveform = np.zeros(LENGTH)
    waveform[CLICKS] = 0.6
    return waveform


def partials(amplitudes: dict[float, float], length: int = LENGTH) -> np.ndarray:
    """Return a steady sum of sines, the amplitudes by frequency in Hz, with a peak of at most 0.5."""
    time = np.arange(length) / SAMPLE_RATE
    total = sum(amplitudes.values())
    return sum(
        (0.5 * a / total * np.sin(2 * np.pi * hz * time + i) for i, (hz, a) in enumerate(amplitudes.items())),
        np.zeros(length),
    )


def chord() -> np.ndarray:
    """Return a chord with a peak of at most 0.3 and nothing above 1 kHz, to put clicks on.

    It fades in and out within 0.1 s: cut ends would be clicks, too.
    """
    fade = np.minimum(np.arange(LENGTH) / (0.1 * SAMPLE_RATE), 1)
    steady = partials(dict.fromkeys((220.0, 277.2, 329.6, 440.0, 880.0), 1.0))
    return 0.6 * steady * np.sin(np.pi / 2 * np.minimum(fade, fade[::-1])) ** 2


def genre_clips(root: Path | None = None) -> dict[str, np.ndarray]:
    """Load 6 s of the clips `CLIPS` of each genre, by name, from `root` or the folder in GTZAN_ROOT; {} without it."""
    import soundfile

    root = root or Path(os.environ.get("GTZAN_ROOT", ""))
    if not root.is_dir() or root == Path():
        return {}
    paths = sorted(path for number in CLIPS for path in root.glob(f"*/*.{number}.wav"))
    if not paths:
        raise UserError(f"{root} has no clip <genre>/<genre>.{CLIPS[0]}.wav: set GTZAN_ROOT to GTZAN's genres")
    found = {}
    for path in paths:
        with soundfile.SoundFile(path) as file:
            file.seek(CLIP_START_S * SAMPLE_RATE)
            found[path.stem] = file.read(LENGTH, dtype="float64")
    return found


def whole_clips(shards: Path, n_clips: int = 80, most_s: float = 14.0) -> tuple[str, list[np.ndarray], list[str]]:
    """Load whole clips, at most `most_s` seconds of each, float64.

    Returns
    -------
    name : str
        Of the set: "GTZAN", with all clips in GTZAN_ROOT if that is set; else `shards`.
    clips : list of arrays [time]
    genres : list of str
        Of each clip. Clips of `shards` are dealt to ten in turn.
    """
    import soundfile

    root = os.environ.get("GTZAN_ROOT", "")
    if root and Path(root).is_dir():
        paths = sorted(Path(root).glob("*/*.wav"))
        clips = [soundfile.read(path, frames=round(most_s * SAMPLE_RATE))[0] for path in paths]
        return "GTZAN", clips, [path.parent.name for path in paths]
    waveform = packed.load(shards, n_clips, most_s).double().numpy()
    return str(shards), list(waveform), [str(i % 10) for i in range(n_clips)]
