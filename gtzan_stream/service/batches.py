"""Batches as messages: what a server sends of a batch, and the batch that a client builds from it."""

from typing import Any

import numpy as np
import torch

from gtzan_stream.batch import Batch
from gtzan_stream.batch_maker import BatchMaker
from gtzan_stream.service.protocol import Expected, Header, ServiceError, arrays_of, layout_of
from gtzan_stream.views import BatchKind
from gtzan_stream.words import short_repr


def message_of(batch: Batch) -> tuple[Header, list[np.ndarray]]:
    """Return the header and the arrays of a batch. Its tensors must be on the CPU."""
    arrays = {"features": batch.features.contiguous().numpy(), "labels": batch.labels.numpy()}
    arrays |= {"crops": batch.crops, "starts": batch.starts, "valid_frames": batch.valid_frames}
    if batch.targets.is_floating_point():  # with mixup; else they are the labels
        arrays["targets"] = batch.targets.numpy()
    arrays |= {"weights": batch.weights.numpy(), "loss_weights": batch.loss_weights.numpy()}
    arrays = {name: array.astype(array.dtype.newbyteorder("<"), copy=False) for name, array in arrays.items()}
    layout = layout_of((name, array.dtype.str, array.shape) for name, array in arrays.items())
    return {"arrays": layout, "keys": batch.keys, "skipped": list(batch.skipped)}, list(arrays.values())


def batch_of(header: Header, frames: list[Any], kind: BatchKind, maker: BatchMaker, *, epoch: int, n: int) -> Batch:
    """Build the batch of `n` rows in a reply, as `maker` would make it.

    Its features are in the memory of the reply's frame, which is this process's own and writable.

    Raises
    ------
    ServiceError
        If the reply is not such a batch.
    """
    arrays = arrays_of(header, frames, _expected(kind, maker, n))
    tensors = {
        name: torch.from_numpy(arrays[name])
        for name in ("features", "labels", "targets", "weights", "loss_weights")
        if name in arrays
    }
    keys, skipped = _strings(header.get("keys")), _strings(header.get("skipped"))
    if len(keys) != n:
        raise ServiceError(f"a batch of {n} rows came with {len(keys)} keys")
    batch = Batch(
        **{"targets": tensors["labels"], **tensors},
        keys=keys,
        crops=arrays["crops"],
        starts=arrays["starts"],
        valid_frames=arrays["valid_frames"],
        epoch=epoch,
        skipped=tuple(skipped),
        transform=kind.transform,
        seed=maker.seed,
        n_views=kind.views,
    )
    if maker.device.type == "cuda":  # from pinned memory, or this thread would wait until the GPU has nothing to do
        batch = batch.pin_memory()
    return batch if maker.device.type == "cpu" else batch.to(maker.device, non_blocking=True)


def _expected(kind: BatchKind, maker: BatchMaker, n: int) -> tuple[Expected, ...]:
    """Return type and shape of each array of a batch of `n` rows."""
    views = () if kind.views == 1 else (kind.views,)
    return (
        ("features", "<f4", (n, *views, maker.n_rows, maker.geometry.frames)),
        *((name, "<i8", (n,)) for name in ("labels", "crops", "starts", "valid_frames")),
        *([("targets", "<f4", (n, maker.n_classes))] if kind.mixup else []),
        *((name, "<f4", (n,)) for name in ("weights", "loss_weights")),
    )


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ServiceError(f"expected a list of strings, got {short_repr(value)}")
    return value
