"""Measure the loader's speed with one setting changed at a time: ``python benchmarks/throughput.py --sweep``."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.lib.rates import endless, make_loader, rates
from gtzan_stream import audio
from gtzan_stream.features import LogMel
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.read import ClipReader

WORKERS = (0, 1, 2, 4, 8)
BATCHES = (16, 64, 256, 1024)
CODECS = ("wav", "flac")
FRAMES = (64, 128, 256, 512)
CLIPS = 80  # largest number of clips to pack again in another codec


def measure(
    shards: Path, device: torch.device, *, min_s: float, batch_size: int, num_workers: int, runs: int = 3
) -> Iterator[dict[str, Any]]:
    """Yield a row for each value of each setting."""

    def one(setting: str, value: Any, *, shards: Path = shards, **changes: Any) -> dict[str, Any]:
        frames = changes.pop("frames", 128)
        options = {"batch_size": batch_size, "num_workers": num_workers, **changes}
        features = LogMel(frames=frames)
        with make_loader(shards, augment="study", device=device, features=features, **options) as loader:
            speed = rates(endless(loader), options["batch_size"], device, min_s=min_s, runs=runs)
        crop_s = features.geometry.stride / features.geometry.sample_rate
        music = {name: rate * crop_s for name, rate in speed.items()}
        return {"setting": setting, "value": value, "crops_per_s": speed, "times_real_time": music}

    for n in WORKERS:
        yield one("workers", n, num_workers=n)
    for n in BATCHES:
        yield one("batch", n, batch_size=n)
    for n in FRAMES:
        yield one("frames in a crop", n, frames=n)
    with tempfile.TemporaryDirectory() as folder:
        for codec in CODECS:
            yield one("codec", codec, shards=repack(shards, Path(folder), codec))


def repack(shards: Path, folder: Path, codec: str) -> Path:
    """Pack up to `CLIPS` clips, spread evenly over the set, again in another codec."""
    manifest = Manifest.open(shards)
    reader = ClipReader(manifest)
    for clip in np.unique(np.linspace(0, len(manifest) - 1, CLIPS).astype(int)):
        samples = np.empty(manifest.frames[clip], reader.dtype)
        reader.read(int(clip), 0, samples)
        path = folder / "clips" / manifest.labels[manifest.label[clip]] / f"{manifest.keys[int(clip)]}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        if samples.dtype != np.int16:
            samples = audio.quantise(samples)
        path.write_bytes(audio.encode(samples, manifest.sample_rate))
    pack(folder / "clips", folder / codec, codec=codec, name="sweep")
    return folder / codec
