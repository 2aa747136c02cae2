"""Find issues of clips: the lines of a packing report. The manifest stores them; none stops packing or indexing."""

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
"""Kinds of issues, the most serious first. Reports are sorted in this order."""
SILENT_DB = -60.0
"""A clip is silent if its peak, relative to full scale, is below this level."""
CLIPPED_RUN = 4
"""Number of successive samples at full scale that count as clipped."""


@dataclass(frozen=True)
class Issue:
    """One line of a packing report.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    key : str
        Key of the clip, or name of the split or label; empty if the issue concerns none of them.
    source : str
        Name of the audio file or shard; empty if the issue concerns neither.
    detail : str
    """

    kind: str
    key: str
    source: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    def sort_key(self) -> tuple[int, str, str, str]:
        """Return the key to sort a report by: most serious kind first, then clip and file."""
        return KINDS.index(self.kind) if self.kind in KINDS else -1, self.key, self.source, self.detail


def find_issues(pcm: audio.Pcm) -> list[tuple[str, str]]:
    """List the issues of decoded samples, as (kind, detail): truncated, silent or clipped.

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
    elif n_runs := _count_clipped_runs(pcm.samples):
        found.append(("clipped", f"{count(n_runs, 'run')} of {CLIPPED_RUN} or more samples at full scale"))
    return found


def issue_kind(error: Exception) -> str:
    """Return the kind of issue to report for a file that could not be decoded."""
    return "needs av" if isinstance(error, audio.NeedsAv) else "unreadable"


def _count_clipped_runs(samples: np.ndarray) -> int:
    """Count the runs of at least `CLIPPED_RUN` successive samples at full scale.

    With full-scale samples at indices 2, 3, 4, 5, 9, the runs end at positions 3 and 4 of that list of indices; the
    differences of -1, 3, 4 are the lengths of the runs: 4 and 1.
    """
    full_scale = np.flatnonzero((samples == 32767) | (samples == -32768))
    if len(full_scale) < CLIPPED_RUN:
        return 0
    run_ends = np.flatnonzero(np.diff(full_scale, append=np.iinfo(np.int64).max) > 1)
    return int(np.count_nonzero(np.diff(run_ends, prepend=-1) >= CLIPPED_RUN))


def find_duplicates(labels: Mapping[str, str], digests: Mapping[str, str], sources: Mapping[str, str]) -> list[Issue]:
    """Report every clip with the same samples as an earlier clip, in the order of keys.

    The issue is a "duplicate", or a "conflict" if the two have different labels.

    Parameters
    ----------
    labels, digests, sources : mapping from key to str
        Label of each clip, checksum of its samples, and its file.
    """
    first_key: dict[str, str] = {}  # by checksum
    found = []
    for key in sorted(labels):
        same = first_key.setdefault(digests[key], key)
        if same == key:
            continue
        kind, detail = "duplicate", f"the same samples as {same} ({sources[same]})"
        if labels[same] != labels[key]:
            kind, detail = "conflict", f"{detail}, but another label: {labels[key]} here, {labels[same]} there"
        found.append(Issue(kind, key, sources[key], detail))
    return found
