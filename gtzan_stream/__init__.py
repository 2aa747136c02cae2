"""On-the-fly augmentation and features for music, streamed from WebDataset shards and computed on the GPU.

The public API is what `__all__` lists here and, for the transforms, in `gtzan_stream.augment`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gtzan_stream.batch import Batch
    from gtzan_stream.errors import BadSample, UserError
    from gtzan_stream.features import LogMel, RawWaveform
    from gtzan_stream.geometry import Geometry
    from gtzan_stream.loader import Loader
    from gtzan_stream.normalization import Normalization
    from gtzan_stream.spec_augment import spec_augment_mask
    from gtzan_stream.store.manifest import Manifest
    from gtzan_stream.store.pack import pack

__version__ = "0.2.0.dev0"
__all__ = [
    "BadSample",
    "Batch",
    "Geometry",
    "Loader",
    "LogMel",
    "Manifest",
    "Normalization",
    "RawWaveform",
    "UserError",
    "pack",
    "spec_augment_mask",
]

_HOME = {
    "BadSample": "errors",
    "Batch": "batch",
    "Geometry": "geometry",
    "Loader": "loader",
    "LogMel": "features",
    "Manifest": "store.manifest",
    "Normalization": "normalization",
    "RawWaveform": "features",
    "UserError": "errors",
    "pack": "store.pack",
    "spec_augment_mask": "spec_augment",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``gtzan-stream --help`` does not have to import torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """List the public names too, although each is imported only when it is first used."""
    return sorted({*globals(), *__all__})
