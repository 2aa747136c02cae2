"""Can a network tell that a clip was stretched? ``GTZAN_ROOT=.../genres python benchmarks/detect.py``.

A small network is trained to tell crops of clips stretched at rates of 0.9 to 1.1 from crops of other, untouched clips,
and tested on clips that it has never met: 50 % is chance. If it can, a model trained on augmented clips can, too, and
may learn the augmentation instead of the music.

Clips are dealt to folds, by genre: in each fold, two clips of each genre are tested, one of them stretched, and half of
the others are stretched for training. So each clip is tested once. "nothing" stretches by nothing: it must be at 50 %,
or something else than the stretch gives the classes away. All clips, stretched or not, have half their level (a stretch
may exceed full scale), are rounded to 16 bits and lose a second at each end, and each crop loses its mean level.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import sound_table as tables
from benchmarks.lib.common import Shards, run, save, show
from benchmarks.lib.contest import need, threads
from benchmarks.lib.sound_measures import SAMPLE_RATE, mel_filters
from benchmarks.lib.sound_methods import Method, methods
from benchmarks.lib.sound_signals import whole_clips
from gtzan_stream.errors import UserError

RATES = (0.9, 1.1)
N_FFT, WIN, HOP, FRAMES = 1024, 512, 128, 172  # crops of a second
TESTED = 2
"""Clips of each genre that are tested in a fold: a stretched and an untouched one."""
CROPS = 16
"""Crops of each tested clip, evenly spaced."""
FLOOR_DB = 60.0
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Fold:
    """Clips by part and by role: numbers of the stretched and of the untouched ones."""

    train: tuple[list[int], list[int]]
    test: tuple[list[int], list[int]]


def folds(genres: Sequence[str], seed: int) -> Iterator[Fold]:
    """Deal clips to folds by genre, in an order drawn by `seed`; clips beyond a multiple of `TESTED` are left out."""
    rng = np.random.default_rng(seed)
    by_genre = [rng.permutation([i for i, name in enumerate(genres) if name == genre]) for genre in sorted(set(genres))]
    n_folds = min(map(len, by_genre)) // TESTED
    if n_folds < 2:
        raise UserError(f"each genre needs at least {2 * TESTED} clips; one has {min(map(len, by_genre))}")
    for number in range(n_folds):
        fold = Fold(train=([], []), test=([], []))
        for clips in by_genre:
            ordered = np.roll(clips[: n_folds * TESTED], -number * TESTED).tolist()
            for role in (0, 1):
                tested, *others = ordered[role::2]
                fold.test[role].append(tested)
                fold.train[role].extend(others)
        yield fold


def log_mel(samples: np.ndarray) -> Tensor:
    """Return the log-mel of a clip in dB, without a second at each end: [mel, frame]."""
    pcm = np.clip(np.rint(samples * 32768), -32768, 32767)
    waveform = torch.from_numpy((pcm / 32768).astype(np.float32))[SAMPLE_RATE:-SAMPLE_RATE]
    window = torch.hann_window(WIN)
    spectrum = torch.stft(waveform, N_FFT, HOP, WIN, window, center=False, return_complex=True)
    filters = torch.from_numpy(mel_filters(N_FFT)).float()
    power = filters @ spectrum.abs().square()
    return 10 * torch.log10(power.clamp(min=float(power.max()) * 10 ** (-FLOOR_DB / 10)))


class Detector(nn.Module):
    """Four convolutions and the means and maxima of what they find: crops [batch, mel, frame] to logits [batch]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for outputs, kernel, stride in ((16, (3, 5), (2, 1)), (24, (3, 3), 2), (32, (3, 3), 2), (48, (3, 3), 2)):
            padding = (kernel[0] // 2, kernel[1] // 2)
            layers += [
                nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            inputs = outputs
        # This memory format is faster on CPUs.
        self.layers = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * inputs, 1))

    def forward(self, crops: Tensor) -> Tensor:
        level = crops.mean((1, 2), keepdim=True)
        channels_last = ((crops - level)[:, None] / 10).to(memory_format=torch.channels_last)
        found = self.layers(channels_last)
        return self.head(torch.cat([found.mean((2, 3)), found.amax((2, 3))], dim=1))[:, 0]


def draw_crops(features: Sequence[Tensor], rng: np.random.Generator, n: int) -> Tensor:
    """Return `n` crops at random places of random clips."""
    chosen = [features[i] for i in rng.integers(len(features), size=n)]
    starts = [rng.integers(clip.shape[1] - FRAMES + 1) for clip in chosen]
    return torch.stack([clip[:, start : start + FRAMES] for clip, start in zip(chosen, starts, strict=True)])


def train(
    stretched: Sequence[Tensor], untouched: Sequence[Tensor], *, steps: int, seed: int, batch: int = 32
) -> Detector:
    """Train a detector on batches of which one half is stretched."""
    torch.manual_seed(seed)
    rng, network = np.random.default_rng(seed), Detector()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    targets = torch.arange(2).repeat_interleave(batch // 2).flip(0).float()
    for _ in range(steps):
        crops = torch.cat([draw_crops(clips, rng, batch // 2) for clips in (stretched, untouched)])
        loss = functional.binary_cross_entropy_with_logits(network(crops), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: Detector, clip: Tensor, stretched: bool) -> float:
    """Return the share of a clip's crops that are classified correctly."""
    starts = np.linspace(0, clip.shape[1] - FRAMES, CROPS).astype(int)
    crops = torch.stack([clip[:, start : start + FRAMES] for start in starts])
    return float(((network(crops) > 0) == stretched).float().mean())


def interval(shares: Sequence[float]) -> tuple[float, float]:
    """Return the mean over clips, and half of its 95 % interval; crops of a clip are not independent."""
    return float(np.mean(shares)), float(1.96 * np.std(shares, ddof=1) / np.sqrt(len(shares)))


def detect(untouched: Sequence[Tensor], stretched: Sequence[Tensor], dealt: Sequence[Fold], steps: int) -> list[float]:
    """Return the accuracy on each tested clip, of all folds."""
    shares = []
    for seed, fold in enumerate(dealt):
        parts = [
            [features[i] for i in clips] for features, clips in zip((stretched, untouched), fold.train, strict=True)
        ]
        network = train(*parts, steps=steps, seed=seed)
        shares += [accuracy(network, stretched[i], True) for i in fold.test[0]]
        shares += [accuracy(network, untouched[i], False) for i in fold.test[1]]
    return shares


def main(
    shards: Shards = Path("shards"),
    steps: Annotated[int, typer.Option(help="Training steps in each fold.", min=1)] = 240,
    seed: Annotated[int, typer.Option(help="Of the order of the clips, and the rates.")] = 0,
    device_name: Annotated[str, typer.Option("--device", hidden=True)] = "cpu",  # as all.py passes it
) -> None:
    """Train detectors of each time stretch, and write benchmarks/results/detect-cpu.json."""
    need("librosa", "audiomentations", "threadpoolctl")
    name, clips, genres = whole_clips(shards)
    rates = np.random.default_rng(seed).uniform(*RATES, len(clips))
    dealt = list(folds(genres, seed))
    same = Method(name="nothing", stretch=lambda samples, rate: samples, shift=lambda samples, n_steps: samples)
    untouched = [log_mel(clip / 2) for clip in clips]
    rows: list[dict[str, Any]] = []
    for method in (same, *(method for method in methods() if not method.brief and method.name != "librosa")):
        with threads(1):  # of a small network, more threads are slower if something else runs
            halves = ((clip / 2).astype(np.float32) for clip in clips)
            stretched = [log_mel(method.stretch(clip, rate)) for clip, rate in zip(halves, rates, strict=True)]
            mean, half = interval(detect(untouched, stretched, dealt, steps))
        print(f"{method.name}: {mean:.1%} +- {half:.1%}", flush=True)
        rows.append({"method": method.name, "accuracy": mean, "half_interval": half})
    tested = sum(len(part) for fold in dealt for part in fold.test)
    settings = {"dataset": name, "folds": len(dealt), "tested": tested, "crops": CROPS, "steps": steps, "rates": RATES}
    show("Can a network hear it?", *tables.detected(rows))
    print(f"written to {save('detect', CPU, settings, rows)}")


if __name__ == "__main__":
    run(main)
