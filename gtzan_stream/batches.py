"""One batch: read the rows' windows, copy them to the device, augment them, compute features."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtzan_stream import crops
from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.draw import Draw
from gtzan_stream.dsp.backend import for_rows
from gtzan_stream.errors import BadSample
from gtzan_stream.plan import Rows
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from gtzan_stream.threads import threads

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """One rank's rows of a global batch. Unpacks as ``features, labels``.

    Attributes
    ----------
    features : Tensor [batch, n_mels, frames] or [batch, 1, time], float32, on the loader's device
    labels : Tensor [batch], int64
        Places in the loader's `labels`.
    weights : Tensor [batch], float32
        1, or 0 for a row that is neither trained on nor counted: a filler of the last batch, a sample that could not be
        read, a crop more than half padding unless it holds all of its clip. A network's batch norm still sees the row.
    keys : list of str
    crops : int64 array [batch]
        Crop indices; chunk numbers in an evaluation.
    valid_frames : int64 array [batch]
        Frames that lie inside the clip; those after are zero.
    skipped : tuple of str
        What was wrong with the samples that could not be read.
    """

    features: Tensor
    labels: Tensor
    weights: Tensor
    keys: list[str]
    crops: np.ndarray
    valid_frames: np.ndarray
    skipped: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Tensor]:
        yield self.features
        yield self.labels


class BatchMaker:
    """Make batches of rows of a plan: the same batch whoever asks, and whenever.

    Parameters
    ----------
    manifest : Manifest
    labels : sequence of str
        Names of the classes that batches' labels count.
    transform : Transform
    features : LogMel or RawWaveform
    device : torch.device
        Where `transform` and `features` are. On CUDA, they run in a stream of the maker's own.
    workers : int
        Threads that read.
    seed : int
    training : bool
        Random crops; otherwise rows name the chunks of their clips.
    on_error : "fail" or "skip"
        As of `Loader`.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        labels: list[str],
        transform: Transform,
        features: Any,
        device: torch.device,
        workers: int,
        seed: int,
        training: bool,
        on_error: str,
    ) -> None:
        self.manifest, self.transform, self.features, self.device = manifest, transform, features, device
        self.seed, self.training, self.on_error = seed, training, on_error
        self._label_codes = np.array([labels.index(name) if name in labels else -1 for name in manifest.labels])
        self._reader = ClipReader(manifest)
        self._readers = threads(workers, "gtzan-stream-reader") if workers > 1 else None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def enter_thread(self) -> None:
        """Begin a thread that makes batches: one that comes back to GPU 0 from another would open that, too."""
        if self._stream is not None:
            torch.cuda.set_device(self._stream.device)

    @torch.inference_mode(mode=False)  # whose tensors no other thread may write, and training could not keep
    @torch.no_grad()
    def make(self, rows: Rows, epoch: int) -> tuple[Batch, Any]:
        """Make a batch of an epoch; on CUDA, also the event after which its tensors are ready."""
        key_hash = self.manifest.key_hash[rows.clips]
        lengths = self.manifest.frames[rows.clips]
        draw = self.transform.draw(key_hash, seed=self.seed, epoch=epoch, crops=rows.crops)
        if self.training:
            windows = crops.random_windows(
                rows,
                lengths,
                self.features,
                self.transform,
                draw,
                seed=self.seed,
                epoch=epoch,
                key_hash=key_hash,
            )
        else:
            windows = crops.chunk_windows(rows, lengths, self.features)
        buffer, errors = self._read(rows, windows)
        weights = rows.weights * windows.counted
        weights[list(errors)] = 0
        host = {"labels": self._label_codes[self.manifest.label[rows.clips]], "weights": weights.astype(np.float32)}
        with torch.cuda.stream(self._stream):
            features = self._featurise(self._copy(buffer), draw, windows.valid_frames)
            tensors = {name: self._copy(torch.from_numpy(array)) for name, array in host.items()}
            event = None if self._stream is None else self._stream.record_event()
        batch = Batch(
            features=features,
            **tensors,
            keys=[self.manifest.keys[int(clip)].as_py() for clip in rows.clips],
            crops=rows.crops,
            valid_frames=windows.valid_frames,
            skipped=tuple(errors[row] for row in sorted(errors)),
        )
        return batch, event

    def _read(self, rows: Rows, windows: crops.Windows) -> tuple[Tensor, dict[int, str]]:
        """Read every row's window into one buffer [batch, time], anything after it; also say which failed, and why."""
        shape = (len(rows.clips), int(windows.length.max()))
        dtype = torch.int16 if self._reader.dtype == np.int16 else torch.float32
        buffer = _uninitialised(shape, dtype, pin_memory=self._stream is not None)
        array = buffer.numpy()
        errors: dict[int, str] = {}

        def read(row: int) -> None:
            clip = int(rows.clips[row])
            try:
                self.check_rate(rows.clips[row : row + 1])
                self._reader.read(clip, int(windows.start[row]), array[row, : windows.length[row]])
            except BadSample as error:
                if self.on_error == "fail":
                    raise
                array[row] = 0
                errors[row] = str(error)

        if self._readers is None:
            for row in range(len(array)):
                read(row)
        else:
            list(self._readers.map(read, range(len(array))))
        return buffer, errors

    def _copy(self, tensor: Tensor) -> Tensor:
        if self._stream is None:
            return tensor
        return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(self.device, non_blocking=True)

    def _featurise(self, waveform: Tensor, draw: Draw, valid_frames: np.ndarray) -> Tensor:
        if waveform.dtype == torch.int16:
            waveform = widen(waveform)
        length = np.full(len(waveform), self.features.window)
        features = self.features(self.transform.apply(waveform, draw, length))
        if valid_frames.min() < self.features.frames:
            valid = self._copy(torch.from_numpy(valid_frames))[:, None]
            padding = torch.arange(self.features.frames, device=self.device) >= valid
            features = features.masked_fill(padding[:, None], 0)
        return features

    def hand_over(self, batch: Batch, event: Any) -> None:
        """Let the consumer's stream use the batch, and say what it lacks."""
        if event is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(event)
            for tensor in (batch.features, batch.labels, batch.weights):
                tensor.record_stream(current)
        for message in batch.skipped:
            _log.warning("skipped: %s", message)

    def check_rate(self, clips: np.ndarray) -> None:
        """Raise BadSample if one of these clips has another sample rate than the features."""
        if len(wrong := np.flatnonzero(self.manifest.clip_rate[clips] != self.features.sample_rate)):
            clip = int(clips[wrong[0]])
            raise BadSample(
                f"{self.manifest.where(clip)}: expected {self.features.sample_rate} Hz, got "
                f"{self.manifest.clip_rate[clip]}; pack again with --sample-rate {self.features.sample_rate}"
            )


def widen(pcm: Tensor) -> Tensor:
    """Turn 16-bit samples into float32 at +/-1; on the CPU by our own threads, which takes a fifth of torch's time."""
    if pcm.device.type != "cpu":
        return pcm.to(torch.float32).mul_(1 / 32768)
    waveform = _uninitialised(tuple(pcm.shape), torch.float32)
    samples, out, scale = pcm.numpy(), waveform.numpy(), np.float32(1 / 32768)
    for_rows(lambda row: np.multiply(samples[row], scale, out=out[row], dtype=np.float32), len(pcm))
    return waveform


def _uninitialised(shape: tuple[int, ...], dtype: torch.dtype, *, pin_memory: bool = False) -> Tensor:
    """A tensor in up to a quarter more room, of few sizes: buffers of ever other ones would leave holes in the heap."""
    n = math.prod(shape)
    step = 1 << max(n.bit_length() - 3, 0)
    room = torch.empty(-(-n // step) * step, dtype=dtype, pin_memory=pin_memory)
    return room[:n].view(shape)
