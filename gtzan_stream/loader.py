"""The service: plan, draw, read, copy, augment and featurise each batch, ahead of the trainer that consumes it."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gtzan_stream import crops
from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.compose import Identity
from gtzan_stream.augment.draw import Draw
from gtzan_stream.augment.recipes import recipe
from gtzan_stream.dsp.backend import for_rows
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.features import LogMel
from gtzan_stream.plan import EpochPlan, Rows
from gtzan_stream.prefetch import prefetch
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader

_log = logging.getLogger(__name__)
_PREFETCH = 2  # batches made ahead of the consumer
STUDY_SAMPLES = 8 * 128 * 512  # the study evaluates the first 8 chunks of 128 frames


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


class Loader:
    """Stream augmented features of music clips from WebDataset shards.

    Every iteration is one epoch, and the next iteration the next epoch; an iteration that was broken off before its
    last batch is begun again. The order of an epoch and every augmentation are pure functions of (seed, epoch, key,
    crop index): equal for any `workers`, any number of ranks, before and after a resume, and on any device.

    Parameters
    ----------
    shards : path or address
        Folder with shards and their manifest, made by ``gtzan-stream pack`` or ``demo``. Shards at an address that
        fsspec knows (s3://, gs://, https://, hf://) come to a local cache ahead of need.
    split, part : str
        Which clips, for instance "filtered" and "train". All clips where `split` is None.
    batch_size : int
        Rows of a global batch; rank r of W gets rows ``r::W``, so it must be divisible by W.
    augment : str or Transform
        A recipe of `gtzan_stream.augment.recipes`, or a transform of your own. Evaluations are not augmented.
    features : LogMel or RawWaveform
        What to compute, and with it the length of a crop.
    device : str or torch.device
        Where augmentation and features are computed. On CUDA, in a stream of their own.
    workers : int
        Threads that read. 0 makes each batch when it is asked for; 1 or more make batches ahead, in the background.
    seed : int
    crops_per_clip : int
        Samples of each clip in an epoch of training.
    rank, world_size : int, optional
        This process among those that train together; by default, what `torch.distributed` says.
    on_error : "fail" or "skip"
        What a sample that cannot be read does: raise `BadSample`, or become a row of weight 0 noted in `skipped`.
    eval : "study", "clip" or None
        None for training: shuffled random crops. "study": the first 8 chunks of every clip, as the study did. "clip":
        every chunk.
    shuffle_window : int, optional
        Shards whose samples are mixed with one another; see `EpochPlan`. Of remote shards, twice as many must fit the
        cache.

    Attributes
    ----------
    labels : list of str
        Names of the classes that the split has.
    skipped : list of str
        What was wrong with samples that could not be read, since the loader was made.

    Raises
    ------
    UserError
        If the shards, split, part or recipe do not exist, or a number does not fit.
    """

    def __init__(
        self,
        shards: str | Path,
        *,
        split: str | None = None,
        part: str = "train",
        batch_size: int = 16,
        augment: str | Transform = "study",
        features: nn.Module | None = None,
        device: str | torch.device = "cpu",
        workers: int = 1,
        seed: int = 0,
        crops_per_clip: int = 8,
        rank: int | None = None,
        world_size: int | None = None,
        on_error: str = "fail",
        eval: str | None = None,
        shuffle_window: int | None = None,
    ) -> None:
        self.rank, self.world_size = _ranks(rank, world_size)
        if batch_size < 1 or batch_size % self.world_size:
            raise UserError(f"batch_size must be divisible by the {self.world_size} ranks, got {batch_size}")
        if workers < 0:
            raise UserError(f"workers must be 0 or more threads, got {workers}")
        if crops_per_clip < 1:
            raise UserError(f"crops_per_clip must be at least 1, got {crops_per_clip}")
        if on_error not in ("fail", "skip"):
            raise UserError(f"on_error must be 'fail' or 'skip', got {on_error!r}")
        if eval not in (None, "study", "clip"):
            raise UserError(f"eval must be 'study', 'clip' or None, got {eval!r}")
        self.manifest = Manifest.open(shards)
        self.device = torch.device(device)
        self.features: Any = (LogMel() if features is None else features).to(self.device)
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        self.on_error = on_error
        self.skipped: list[str] = []
        self.epoch = 0
        self._split, self._part, self._eval = split, part, eval
        self._crops_per_clip = crops_per_clip
        self._consumed = self._start = 0  # samples yielded of this epoch; those a resume begins after
        self._clips = self._clips_of(split, part)
        self.labels = self.manifest.labels if split is None else self.manifest.labels_of(split)
        self._label_codes = np.array(
            [self.labels.index(name) if name in self.labels else -1 for name in self.manifest.labels]
        )
        transform = recipe(augment) if isinstance(augment, str) else augment
        self.transform = (Identity() if eval else transform).to(self.device)
        self._reader = ClipReader(self.manifest)
        self._readers = ThreadPoolExecutor(workers, "gtzan-stream-reader") if workers > 1 else None
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self._window = shuffle_window if eval is None else 1  # an evaluation reads shard after shard
        self._length = len(self._make_plan())
        self.manifest.folder.check_window(None if self._window is None else 2 * self._window)  # one read, one ahead

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of `epoch`: at its start, or where `load_state_dict` has left off in it."""
        if epoch != self.epoch:
            self.epoch, self._start, self._consumed = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Say where the loader is: what it has yielded, not what it has prepared. Small, and plain JSON."""
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "samples_consumed": self._consumed,
            "batch_size": self.batch_size,
            "crops_per_clip": self._crops_per_clip,
            "split": self._split,
            "part": self._part,
            "eval": self._eval,
            "shuffle_window": self._window,
            "manifest_digest": self.manifest.digest,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken, with any number of workers and any number of ranks.

        Raises
        ------
        UserError
            If the shards or a setting that the order depends on have changed since.
        """
        now = self.state_dict()
        if unknown := sorted(state.keys() ^ now.keys()):
            raise UserError(f"a loader's state has the keys {', '.join(now)}; these differ: {', '.join(unknown)}")
        place = ("epoch", "samples_consumed")
        for name, expected in now.items():
            if name not in place and state[name] != expected:
                raise UserError(
                    f"the state was taken with {name}={state[name]!r}, this loader has {expected!r}: make the loader "
                    f"with the old value, or begin anew without the state"
                )
        self.epoch = state["epoch"]
        self._consumed = self._start = state["samples_consumed"]

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the epoch, from its start or from where `load_state_dict` has left off."""
        plan, epoch = self._make_plan(), self.epoch  # of this iteration, whatever is set while it runs
        first = self._start // self.batch_size
        self._consumed, self._start = self._start, 0
        batches = self._prepared(plan, epoch, first)
        if self.workers:
            batches = prefetch(batches, _PREFETCH)
        for number, (batch, event) in enumerate(batches, first + 1):
            self._hand_over(batch, event)
            if number < len(plan):
                self._consumed = number * self.batch_size
            else:  # before the last batch is handed over: who counts batches never asks for one more
                self.epoch, self._consumed = epoch + 1, 0
            yield batch

    def _clips_of(self, split: str | None, part: str) -> np.ndarray:
        clips = np.arange(len(self.manifest.frames)) if split is None else self.manifest.part(split, part)
        wrong = np.flatnonzero(self.manifest.clip_rate[clips] != self.features.sample_rate)
        if len(wrong) and self.on_error == "fail":
            raise BadSample(self._wrong_rate(int(clips[wrong[0]])))
        return clips

    def _wrong_rate(self, clip: int) -> str:
        return (
            f"{self.manifest.where(clip)}: expected {self.features.sample_rate} Hz, got "
            f"{self.manifest.clip_rate[clip]}; pack again with --sample-rate {self.features.sample_rate}"
        )

    def _make_plan(self) -> EpochPlan:
        if self._eval is None:
            n_crops: int | np.ndarray = self._crops_per_clip
        else:
            limit = STUDY_SAMPLES if self._eval == "study" else None
            n_crops = crops.chunks_per_clip(self.manifest.frames[self._clips], self.features, limit)
        return EpochPlan(
            clips=self._clips,
            shards=self.manifest.shard[self._clips],
            crops=n_crops,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=self.epoch,
            shuffle=self._eval is None,
            window=self._window,
        )

    def _prepared(self, plan: EpochPlan, epoch: int, first: int) -> Iterator[tuple[Batch, Any]]:
        """Make the batches from number `first` on, while remote shards of this window and the next arrive."""
        asked = -1
        for number in range(first, len(plan)):
            window = plan.window_of(number)
            if window != asked:
                asked = window
                shards = np.concatenate([plan.shards_of(window), plan.shards_of(window + 1)])
                self.manifest.folder.prefetch(self.manifest.shards[shard].name for shard in shards)
            yield self._prepare(plan.rows(number, self.rank, self.world_size), epoch)

    @torch.inference_mode(mode=False)  # whose tensors no other thread may write, and training could not keep
    @torch.no_grad()
    def _prepare(self, rows: Rows, epoch: int) -> tuple[Batch, Any]:
        """Make a batch; on CUDA, also the event after which its tensors are ready."""
        key_hash = self.manifest.key_hash[rows.clips]
        lengths = self.manifest.frames[rows.clips]
        draw = self.transform.draw(key_hash, seed=self.seed, epoch=epoch, crops=rows.crops)
        if self._eval is None:
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
        """Read every row's window into one buffer [batch, time]; also say which rows failed, and why."""
        shape = (len(rows.clips), int(windows.length.max()))
        dtype = torch.int16 if self._reader.dtype == np.int16 else torch.float32
        buffer = torch.zeros(shape, dtype=dtype, pin_memory=self._stream is not None)
        array = buffer.numpy()
        errors: dict[int, str] = {}

        def read(row: int) -> None:
            clip = int(rows.clips[row])
            try:
                if self.manifest.clip_rate[clip] != self.features.sample_rate:
                    raise BadSample(self._wrong_rate(clip))
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

    def _hand_over(self, batch: Batch, event: Any) -> None:
        """Let the consumer's stream use the batch, and keep what it skipped."""
        if event is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(event)
            for tensor in (batch.features, batch.labels, batch.weights):
                tensor.record_stream(current)
        for message in batch.skipped:
            _log.warning("skipped: %s", message)
        self.skipped += batch.skipped


def widen(pcm: Tensor) -> Tensor:
    """Turn 16-bit samples into float32 at +/-1; on the CPU by our own threads, which takes a fifth of torch's time."""
    if pcm.device.type != "cpu":
        return pcm.to(torch.float32).mul_(1 / 32768)
    waveform = torch.empty(pcm.shape, dtype=torch.float32)
    samples, out, scale = pcm.numpy(), waveform.numpy(), np.float32(1 / 32768)
    for_rows(lambda row: np.multiply(samples[row], scale, out=out[row], dtype=np.float32), len(pcm))
    return waveform


def _ranks(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if (rank is None) != (world_size is None):
        raise UserError("rank and world_size go together: give both or neither")
    if rank is None or world_size is None:
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        return (torch.distributed.get_rank(), torch.distributed.get_world_size()) if distributed else (0, 1)
    if not 0 <= rank < world_size:
        raise UserError(f"rank must be in 0..{world_size - 1}, got {rank}")
    return rank, world_size
