"""How fast each stage of the loader is, and the whole: ``python benchmarks/throughput.py --shards shards/``.

Every stage works on the same batches of random crops. A row says what one stage alone can do; ``loader`` is all of them
together, as a trainer gets them.
"""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from gtzan_stream.features import LogMel

from benchmarks.common import Timing, measure, save, show
from gtzan_stream import audio
from gtzan_stream.augment import recipes
from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader

CODECS = {"wav": "WAV", "flac": "FLAC"}


@dataclass(frozen=True)
class Row:
    """One stage: crops of `crop_s` seconds a second, and seconds of music a second."""

    stage: str
    crops_per_s: float
    times_real_time: float
    spread: float
    runs: int


def row(stage: str, timing: Timing, crops: int, crop_s: float) -> Row:
    rate = crops / timing.median_s
    return Row(stage, rate, rate * crop_s, (timing.max_s - timing.min_s) / timing.median_s, timing.runs)


def measure_stages(shards: Path, batch_size: int, device: torch.device, min_s: float) -> list[Row]:
    """Every stage of the loader alone, then reading and augmenting together as each recipe does."""
    features = LogMel().to(device)
    manifest = Manifest.open(shards)
    reader = ClipReader(manifest)
    crop_s = features.window / features.sample_rate
    rng = np.random.default_rng(0)
    clips = rng.integers(0, len(manifest.frames), batch_size)
    starts = [int(rng.integers(0, max(1, manifest.frames[clip] - features.window))) for clip in clips]
    buffer = torch.empty(
        (batch_size, features.window),
        dtype=torch.from_numpy(np.empty(0, reader.dtype)).dtype,
        pin_memory=device.type == "cuda",
    )

    def read() -> None:
        for i, (clip, start) in enumerate(zip(clips, starts, strict=True)):
            reader.read(int(clip), start, buffer.numpy()[i])

    stages: dict[str, Callable[[], object]] = {"read": read}
    read()
    scale = 1 / 32768 if buffer.dtype == torch.int16 else 1.0
    for codec, name in CODECS.items():
        members = [audio.encode(waveform.numpy() * scale, features.sample_rate, codec) for waveform in buffer]
        stages[f"decode {name} (soundfile)"] = lambda members=members: [audio.decode(member) for member in members]
    stages["copy to the device"] = lambda: buffer.to(device, non_blocking=True).to(torch.float32)
    waveform = buffer.to(device).to(torch.float32) * scale
    key_hash = manifest.key_hash[clips]
    for transform in recipes.recipe("study").transforms:
        draw = transform.draw(key_hash, seed=0, epoch=0)
        stages[f"augment: {type(transform).__name__}"] = lambda transform=transform, draw=draw: transform.apply(
            waveform, draw
        )
    stages["log-mel"] = lambda: features(waveform)
    return [row(name, measure(stage, device, min_s=min_s), batch_size, crop_s) for name, stage in stages.items()]


def measure_loaders(shards: Path, batch_size: int, device: torch.device, workers: int, min_s: float) -> list[Row]:
    """The whole loader, an epoch a run, with each recipe."""
    rows = []
    for augment in ("none", "study", "strong"):
        loader = Loader(shards, augment=augment, batch_size=batch_size, device=device, workers=workers)
        timing = measure(lambda loader=loader: [None for _ in loader], device, min_s=min_s, runs=3)
        crop_s = loader.features.window / loader.features.sample_rate
        rows.append(row(f"loader, {augment}", timing, len(loader) * batch_size, crop_s))
    return rows


def main(
    shards: Annotated[Path, typer.Option(help="Folder of packed shards.")] = Path("shards"),
    batch_size: Annotated[int, typer.Option(help="Crops in a batch.")] = 64,
    device: Annotated[str, typer.Option(help="cpu or cuda; the GPU by default where there is one.")] = "",
    workers: Annotated[int, typer.Option(help="Reading threads of the loader.")] = 1,
    min_s: Annotated[float, typer.Option(help="Least seconds to measure each stage for.")] = 1.0,
) -> None:
    """Measure every stage of the loader, print a table and write benchmarks/results/throughput-*.json."""
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        rows = measure_stages(shards, batch_size, place, min_s)
        rows += measure_loaders(shards, batch_size, place, workers, min_s)
    except UserError as error:
        print(f"throughput.py: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    show(
        f"Crops of 128 frames (3.0 s), batch {batch_size}, {place}",
        ["stage", "crops/s", "times real time", "spread"],
        [[r.stage, f"{r.crops_per_s:,.0f}", f"{r.times_real_time:,.0f}", f"{r.spread:.0%}"] for r in rows],
    )
    path = save("throughput", place, {"batch_size": batch_size, "workers": workers}, [asdict(r) for r in rows])
    print(f"written to {path}")


if __name__ == "__main__":
    typer.run(main)
