"""What is odd about a clip: reported when packing, kept in the manifest, and never a reason to stop."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gtzan_stream import audio
from gtzan_stream.store.riff import wav_data

SILENT_DB = -60.0
CLIPPED_RUN = 4


@dataclass(frozen=True, order=True)
class Oddity:
    """One line of the packing report: what `kind`, which clip (or split), and the `detail`."""

    kind: str
    key: str
    source: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def missing_bytes(path: Path) -> int:
    """Bytes of samples that a WAV file's header promises and the file does not hold; 0 for other formats."""
    with path.open("rb") as file:
        data = wav_data(file)
    return data.promised - data.size if data else 0


def examine(pcm: audio.Pcm, lost_bytes: int = 0) -> list[tuple[str, str]]:
    """List what is odd about decoded samples, as (kind, detail): truncated, silent, clipped.

    >>> hum = audio.quantise(np.full(22050, 0.0005))
    >>> examine(audio.Pcm(hum, 22050, 0, audio.AudioInfo(22050, 22050, 1, "WAV", "PCM_16"), 22050))
    [('silent', 'peak at -66.2 dB')]
    """
    found = []
    if lost_bytes:
        found.append(("truncated", f"the header promises {lost_bytes} bytes more than there are"))
    elif pcm.decoded < pcm.source.frames:
        found.append(("truncated", f"{pcm.decoded} of {pcm.source.frames} samples can be decoded"))
    peak = np.abs(pcm.samples.astype(np.int32)).max(initial=0) / audio.FULL_SCALE
    level = 20 * np.log10(peak) if peak else -np.inf
    if level < SILENT_DB:
        found.append(("silent", f"peak at {level:.1f} dB"))
    if pcm.overs:
        found.append(("clipped", f"{pcm.overs} samples beyond full scale were clamped"))
    elif runs := _clipped_runs(pcm.samples):
        found.append(("clipped", f"{runs} times {CLIPPED_RUN} or more samples in a row at full scale"))
    return found


def _clipped_runs(samples: np.ndarray) -> int:
    """How often at least `CLIPPED_RUN` samples in a row lie at full scale."""
    full = np.flatnonzero((samples == 32767) | (samples == -32768))
    if len(full) < CLIPPED_RUN:
        return 0
    ends = np.flatnonzero(np.diff(full, append=np.iinfo(np.int64).max) > 1)
    return int(np.count_nonzero(np.diff(ends, prepend=-1) >= CLIPPED_RUN))
