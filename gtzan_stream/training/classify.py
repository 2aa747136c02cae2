"""Genre probabilities of audio files, by an exported model: over time, and of the whole track."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gtzan_stream import audio, crops
from gtzan_stream.errors import UserError
from gtzan_stream.plan import Rows
from gtzan_stream.store.read import reflected
from gtzan_stream.training.export import Facts, Model, samples_of

BATCH = 16  # chunks the model sees at once


@dataclass(frozen=True)
class Track:
    """What a model says of one file.

    Attributes
    ----------
    path : str
    duration_s : float
    labels : list of str
    starts_s : float64 [chunk]
        Where each chunk begins.
    chunk_s : float
        From one chunk to the next.
    chunks : float32 [chunk, n_classes]
        Probabilities over time.
    """

    path: str
    duration_s: float
    labels: list[str]
    starts_s: np.ndarray
    chunk_s: float
    chunks: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """Of the whole track, float32 [n_classes]: the mean of its chunks'."""
        return self.chunks.mean(axis=0)

    @property
    def ranking(self) -> list[tuple[str, float]]:
        """Labels with their probabilities, the most probable first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(self.labels[i], float(self.probabilities[i])) for i in order]

    def to_dict(self) -> dict[str, Any]:
        """All of it, as plain JSON."""
        return {
            "file": self.path,
            "duration_s": self.duration_s,
            "genre": self.ranking[0][0],
            "probabilities": dict(self.ranking),
            "chunks": [
                {"start_s": start, "probabilities": dict(zip(self.labels, row, strict=True))}
                for start, row in zip(self.starts_s.tolist(), self.chunks.tolist(), strict=True)
            ],
        }


def classify(model: Model, path: str | Path) -> Track:
    """Classify a file of any format that soundfile reads, as an evaluation classifies a clip of the shards.

    The file is turned into 16-bit mono at the model's rate, as packing does, and cut into the chunks that lie at least
    half inside it, one at least; past its end, features are zero.

    Raises
    ------
    UserError
        If the file cannot be decoded, or is empty.
    """
    facts = model.facts
    samples = _read(Path(path), facts.sample_rate)
    windows = _windows(len(samples), facts)
    logits = []
    for first in range(0, len(windows.start), BATCH):
        rows = slice(first, first + BATCH)
        logits.append(model(_waveforms(samples, windows.start[rows], windows.valid_frames[rows], facts)))
    probabilities = torch.cat(logits).softmax(dim=1).numpy()
    return Track(
        path=str(path),
        duration_s=len(samples) / facts.sample_rate,
        labels=facts.labels,
        starts_s=np.arange(len(probabilities)) * facts.samples / facts.sample_rate,
        chunk_s=facts.samples / facts.sample_rate,
        chunks=probabilities,
    )


def _read(path: Path, sample_rate: int) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"{path}: " + ("it is a folder, name its files" if path.is_dir() else "there is no such file"))
    try:
        samples = audio.decode_pcm16(path, sample_rate).samples
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: {error}") from error
    if not len(samples):
        raise UserError(f"{path}: it holds no samples")
    return samples


def _windows(length: int, facts: Any) -> crops.Windows:
    """Windows of all chunks of a recording of `length` samples."""
    n = int(crops.chunks_per_clip(np.array([length]), facts)[0])
    rows = Rows(clips=np.zeros(n, np.int64), crops=np.arange(n), weights=np.ones(n, np.float32))
    return crops.chunk_windows(rows, np.full(n, length), facts)


def _waveforms(samples: np.ndarray, starts: np.ndarray, valid_frames: np.ndarray, facts: Facts) -> torch.Tensor:
    """What the model takes, [chunk, window]: reflected at both ends of the recording, NaN where no frame needs it."""
    waveforms = np.full((len(starts), facts.window), np.nan, np.float32)
    for waveform, start, stop in zip(waveforms, starts, samples_of(facts, valid_frames), strict=True):
        waveform[:stop] = samples[reflected(int(start), int(stop), len(samples))]
    return torch.from_numpy(waveforms / np.float32(audio.FULL_SCALE))
