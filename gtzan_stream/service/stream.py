"""Stream: the settings that decide what the batches of a loader or an evaluation are, as plain JSON."""

import dataclasses
import hashlib
import json
import types
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args, get_origin, get_type_hints

import torch

from gtzan_stream.described import build_features, build_transform
from gtzan_stream.epochs import Epochs
from gtzan_stream.errors import UserError
from gtzan_stream.geometry import Geometry
from gtzan_stream.loader import Loader
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.words import first_few, short_repr

_MAX_WAVEFORM_BYTES = 1 << 30  # of a batch
Described = str | dict[str, Any]
"""A name, or the JSON of a transform or a feature; see `gtzan_stream.described`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """What the batches of a loader depend on, besides epoch, number, rank and world size. Its digest is its name.

    Attributes
    ----------
    manifest_digest : str
        Of the shards.
    augment, features : str or dict
        See `gtzan_stream.described`.
    chunks : str, optional
        Of an evaluation, "study" or "all"; None for training. An evaluation keeps the defaults of what it does not
        depend on, so that all trainers that evaluate on a part ask for the same stream.

    The others are arguments of `Loader`.
    """

    manifest_digest: str
    features: Described
    split: str | None
    part: str | None
    batch_size: int
    on_error: str
    chunks: str | None = None
    augment: Described = "none"
    seed: int = 0
    crops_per_clip: int = 1
    shuffle_shards: int | None = None
    shard_groups: int = 1
    views: int = 1
    mixup: float = 0.0

    @cached_property
    def digest(self) -> str:
        """Name of the stream: the first 32 hexadecimal digits of the sha256 of its JSON."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:32]

    def __str__(self) -> str:
        what = f"augment {short_repr(self.augment)}" if self.chunks is None else f"evaluation, chunks {self.chunks}"
        return f"split {self.split}, part {self.part}, batch size {self.batch_size}, {what}"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: Any) -> "Stream":
        """Build a stream from JSON. Raises UserError if a setting is missing, unknown or of a wrong type."""
        names = [entry.name for entry in dataclasses.fields(cls)]
        if not isinstance(settings, dict) or settings.keys() != set(names):
            raise UserError(
                f"a stream has the settings {', '.join(names)}, got {first_few(map(short_repr, settings))}"
                if isinstance(settings, dict)
                else f"a stream is a JSON object, got {short_repr(settings)}"
            )
        for name, kind in get_type_hints(cls).items():
            kinds = get_args(kind) if get_origin(kind) is types.UnionType else (kind,)
            kinds = tuple(get_origin(each) or each for each in kinds)
            value = settings[name]
            if type(value) not in kinds and not (float in kinds and type(value) is int):
                expected = " or ".join(each.__name__ for each in kinds)
                raise UserError(f"{name} of a stream must be {expected}, got {short_repr(value)}")
        return cls(**settings)

    def evaluation(self, part: str | None, chunks: str) -> "Stream":
        """Return the stream of the evaluation on a part."""
        return Stream(
            manifest_digest=self.manifest_digest,
            features=self.features,
            split=self.split,
            part=part,
            batch_size=self.batch_size,
            on_error=self.on_error,
            chunks=chunks,
        )

    def open(self, manifest: Manifest, device: torch.device, *, allow: Collection[str], max_bytes: int) -> Epochs:
        """Open the loader or evaluation that makes the batches of this stream.

        Parameters
        ----------
        manifest : Manifest
        device : torch.device
        allow : collection of str
            Names "module:function" that a stream may use; see `gtzan_stream.described`.
        max_bytes : int
            Largest size of a batch's features.

        Raises
        ------
        UserError
            If a setting is out of range, or a batch would be larger.
        """
        features, transform = build_features(self.features, allow), build_transform(self.augment, allow)
        geometry: Geometry = features.geometry  # type: ignore[assignment]
        self._check_size(geometry.read_length, "waveforms", _MAX_WAVEFORM_BYTES, "")
        loader = Loader(
            manifest,
            split=self.split,
            part=self.part,
            batch_size=self.batch_size,
            augment=transform,
            features=features,
            device=device,
            num_workers=0,
            seed=self.seed,
            crops_per_clip=self.crops_per_clip,
            rank=0,
            world_size=1,
            on_error=self.on_error,
            shuffle_shards=self.shuffle_shards,
            shard_groups=self.shard_groups,
            views=self.views,
            mixup=self.mixup,
        )
        self._check_size(loader.n_rows * geometry.frames, "features", max_bytes, ", or a larger --cache-mb")
        return loader if self.chunks is None else loader.evaluation(self.part, chunks=self.chunks)  # type: ignore[arg-type]

    def _check_size(self, per_row: int, what: str, max_bytes: int, remedy: str) -> None:
        size = 4 * per_row * max(self.batch_size, 1) * max(self.views, 1)
        if size > max_bytes:
            raise UserError(
                f"the {what} of a batch of {self.batch_size} rows take {size / 1e6:,.1f} MB, this server makes "
                f"{max_bytes / 1e6:,.1f} MB at most: choose a smaller batch{remedy}"
            )
