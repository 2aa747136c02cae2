"""Classify audio files with an exported model: probabilities of the labels over time and for the whole track."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gtzan_stream import audio, crops
from gtzan_stream.errors import UserError
from gtzan_stream.geometry import Geometry
from gtzan_stream.inference.export import Model
from gtzan_stream.store.read import reflected_indices

BATCH = 16  # chunks per call of the model


@dataclass(frozen=True)
class Track:
    """A model's predictions for one file.

    Attributes
    ----------
    path : str
    duration_s : float
    labels : list of str
    starts_s : float64 [chunk]
        Start of each chunk.
    chunk_s : float
        Time from one chunk to the next.
    chunk_probabilities : float32 [chunk, n_classes]
        Probabilities of each chunk.
    damage : str
        Why part of the sound is missing; empty if it is whole.
    """

    path: str
    duration_s: float
    labels: list[str]
    starts_s: np.ndarray
    chunk_s: float
    chunk_probabilities: np.ndarray
    damage: str = ""

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities of the whole track, float32 [n_classes]: the mean over its chunks."""
        return self.chunk_probabilities.mean(axis=0)

    @property
    def ranking(self) -> list[tuple[str, float]]:
        """Labels with their probabilities, the most probable first."""
        order = np.argsort(-self.probabilities, kind="stable")
        return [(self.labels[i], float(self.probabilities[i])) for i in order]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dict that JSON can hold."""
        return {
            "file": self.path,
            "duration_s": self.duration_s,
            **({"damage": self.damage} if self.damage else {}),
            "label": self.ranking[0][0],
            "probabilities": dict(self.ranking),
            "chunks": [
                {"start_s": start, "probabilities": dict(zip(self.labels, row, strict=True))}
                for start, row in zip(self.starts_s.tolist(), self.chunk_probabilities.tolist(), strict=True)
            ],
        }


def classify(model: Model, path: str | Path, *, progress: Callable[[int, int], None] | None = None) -> Track:
    """Classify an audio file in the way that an evaluation classifies a clip of the shards.

    The file is converted to 16-bit mono at the model's sample rate, as in packing, and cut into chunks. A chunk counts
    if at least half of it lies inside the file; the first always counts. Beyond the file's end, features are silence.
    `progress` (done, total), if given, is called with the number of chunks after every few of them.

    Raises
    ------
    UserError
        If the file cannot be decoded, or is empty.
    """
    labels, geometry = model.metadata.labels, model.metadata.geometry
    pcm = _read(Path(path), geometry.sample_rate)
    samples = pcm.samples
    n_chunks = int(crops.chunks_per_clip(np.array([len(samples)]), geometry, "all")[0])
    starts = crops.chunk_starts(np.arange(n_chunks), geometry)
    segments = crops.segments(starts, np.full(n_chunks, len(samples)), geometry)
    logits = []
    for first in range(0, n_chunks, BATCH):
        rows = slice(first, first + BATCH)
        logits.append(model(_waveforms(samples, segments.start[rows], segments.valid_frames[rows], geometry)))
        if progress:
            progress(min(first + BATCH, n_chunks), n_chunks)
    probabilities = torch.cat(logits).softmax(dim=1).numpy()
    return Track(
        path=str(path),
        duration_s=len(samples) / geometry.sample_rate,
        labels=labels,
        starts_s=starts / geometry.sample_rate,
        chunk_s=geometry.stride / geometry.sample_rate,
        chunk_probabilities=probabilities,
        damage=pcm.damage,
    )


def _read(path: Path, sample_rate: int) -> audio.Pcm:
    if not path.is_file():
        raise UserError(
            f"{path}: " + ("it is a folder, give the files in it" if path.is_dir() else "there is no such file")
        )
    try:
        pcm = audio.decode_pcm16(path, sample_rate)
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: {error}") from error
    if not len(pcm.samples):
        raise UserError(f"{path}: it holds no samples")
    return pcm


def _waveforms(samples: np.ndarray, starts: np.ndarray, valid_frames: np.ndarray, geometry: Geometry) -> torch.Tensor:
    """Cut the model's input [chunk, time], reflected at the file's ends; NaN for samples that no valid frame reads."""
    waveforms = np.full((len(starts), geometry.read_length), np.nan, np.float32)
    for waveform, start, length in zip(waveforms, starts, geometry.span(valid_frames), strict=True):
        waveform[:length] = samples[reflected_indices(int(start), int(length), len(samples))]
    return torch.from_numpy(waveforms / np.float32(audio.FULL_SCALE))
