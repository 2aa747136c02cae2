"""What is odd about clips: reported when packing or indexing, kept in the manifest, and never a reason to stop."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from gtzan_stream import audio
from gtzan_stream.words import count

KINDS = (
    "damaged", "unreadable", "needs av", "truncated", "empty", "hidden", "no label", "no sound", "duplicate key",
    "conflict", "mixed labels", "few clips", "few for folds", "incomplete split", "dots", "scattered", "duplicate",
    "known fault", "no such clip", "link", "silent", "clipped",
)  # fmt: skip
"""What a report may hold, the most serious first."""
SILENT_DB = -60.0
CLIPPED_RUN = 4


@dataclass(frozen=True)
class Issue:
    """One line of the packing report: what `kind`, which clip (or split), its file, and the `detail`."""

    kind: str
    key: str
    source: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    def rank(self) -> tuple[int, str, str, str]:
        """Where the line comes in a report."""
        return KINDS.index(self.kind) if self.kind in KINDS else -1, self.key, self.source, self.detail


def find_issues(pcm: audio.Pcm) -> list[tuple[str, str]]:
    """List what is odd about decoded samples, as (kind, detail): truncated, silent, clipped.

    >>> hum = audio.quantise(np.full(22050, 0.0005))
    >>> find_issues(audio.Pcm(hum, 22050, 0, audio.AudioInfo(22050, 22050, 1, "WAV", "PCM_16")))
    [('silent', 'peak at -66.2 dB')]
    """
    found = [("truncated", pcm.damage)] if pcm.damage else []
    peak = np.abs(pcm.samples.astype(np.int32)).max(initial=0) / audio.FULL_SCALE
    level = 20 * np.log10(peak) if peak else -np.inf
    if level < SILENT_DB:
        found.append(("silent", f"peak at {level:.1f} dB"))
    if pcm.n_clipped:
        found.append(("clipped", f"{count(pcm.n_clipped, 'sample')} beyond full scale"))
    elif runs := _clipped_runs(pcm.samples):
        found.append(("clipped", f"{count(runs, 'run')} of {CLIPPED_RUN} or more samples at full scale"))
    return found


def issue_kind(error: Exception) -> str:
    """Kind of report for a file that could not be decoded."""
    return "needs av" if isinstance(error, audio.NeedsAv) else "unreadable"


def _clipped_runs(samples: np.ndarray) -> int:
    """How often at least `CLIPPED_RUN` samples in a row lie at full scale."""
    full = np.flatnonzero((samples == 32767) | (samples == -32768))
    if len(full) < CLIPPED_RUN:
        return 0
    ends = np.flatnonzero(np.diff(full, append=np.iinfo(np.int64).max) > 1)
    return int(np.count_nonzero(np.diff(ends, prepend=-1) >= CLIPPED_RUN))


def find_duplicates(labels: Mapping[str, str], digests: Mapping[str, str], sources: Mapping[str, str]) -> list[Issue]:
    """Report every clip that has the same samples as an earlier one, by key: a duplicate, or a conflict of labels.

    Parameters
    ----------
    labels, digests, sources : mapping from key to str
        Label of each clip, checksum of its samples, and its file.
    """
    first: dict[str, str] = {}
    found = []
    for key in sorted(labels):
        same = first.setdefault(digests[key], key)
        if same == key:
            continue
        kind, detail = "duplicate", f"the same samples as {same} ({sources[same]})"
        if labels[same] != labels[key]:
            kind, detail = "conflict", f"{detail}, but another label: {labels[key]} here, {labels[same]} there"
        found.append(Issue(kind, key, sources[key], detail))
    return found
