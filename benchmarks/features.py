"""Log-mel by FFT and by convolution, beside the other libraries: ``python benchmarks/features.py --shards shards/``.

All compute log10(1 + 10 m) of the same 128 bands of whole clips of 30 s, and agree; see `augment.py` for how.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks import clips, figures
from benchmarks.common import Device, Shards, run, save, show
from benchmarks.contest import OURS, Contender, Contest, Run, hold, need
from benchmarks.peers import RATE, on_numpy
from gtzan_stream.augment import Draw, Identity
from gtzan_stream.dsp.random import hash_keys
from gtzan_stream.features import LogMel
from gtzan_stream.training.device import find

N_FFT, HOP, N_MELS = 1024, 512, 128


def contest(waveform: Tensor) -> Contest:
    """Who makes log-mels of clips [batch, time]."""
    place = waveform.device
    ours = Contender(
        library=OURS,
        run=as_run(LogMel().to(place).clip),
        exact=as_run(LogMel().double().to(place).clip),
        batches=True,
    )
    contenders = [ours, by_module("nnAudio", nnaudio, place), by_module("torchaudio", torchaudio, place)]
    if place.type == "cuda":
        exactly = as_run(LogMel(trainable=True).to(place).clip)
        contenders[1] = replace(contenders[1], note="in TF32, which is what torch convolves in on a GPU by default")
        contenders.append(replace(contenders[1], library="nnAudio in float32", run=exactly, note=""))
    else:
        contenders.append(Contender(library="librosa", run=librosa(), exact=librosa()))
    return Contest(
        operation="log-mel",
        says="128 bands, frames of 1,024, hop 512",
        waveform=waveform,
        draw=Identity().draw(hash_keys([f"clip_{i}" for i in range(len(waveform))])),
        contenders=contenders,
        librosa=librosa(),
    )


def as_run(function: Callable[[Tensor], Tensor]) -> Run:
    """A function of clips [batch, time], as a `Run`."""

    def run(waveform: Tensor, draw: Draw) -> Any:
        with torch.no_grad():
            return function(waveform)

    return run


def by_module(library: str, build: Callable[[], nn.Module], place: torch.device) -> Contender:
    """A mel spectrogram of another library, and log10(1 + 10 m) after it."""

    def compressed(mel: nn.Module) -> Run:
        return as_run(lambda waveform: torch.log10(1 + 10 * mel(waveform)))

    return Contender(library=library, run=compressed(build().to(place)), exact=compressed(build().double().to(place)))


def nnaudio() -> nn.Module:
    """nnAudio's mel spectrogram, by convolution."""
    from nnAudio.features.mel import MelSpectrogram

    return MelSpectrogram(sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, power=1.0, verbose=False)


def torchaudio() -> nn.Module:
    """torchaudio's mel spectrogram with librosa's mel scale."""
    from torchaudio.transforms import MelSpectrogram

    return MelSpectrogram(RATE, N_FFT, hop_length=HOP, n_mels=N_MELS, power=1.0, norm="slaney", mel_scale="slaney")


def librosa() -> Run:
    """librosa's mel spectrogram, reflected at the ends as the others."""
    from librosa.feature import melspectrogram

    def mel(clip: np.ndarray, _: float) -> np.ndarray:
        bands = melspectrogram(
            y=clip, sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS, power=1.0, pad_mode="reflect", dtype=clip.dtype
        )
        return np.log10(1 + 10 * bands)

    return on_numpy(mel)


def main(
    shards: Shards = Path("shards"),
    device: Device = "auto",
    n_clips: Annotated[int, typer.Option("--clips", help="Clips of 30 s; 0 for 8, or 256 on a GPU.")] = 0,
    rounds: Annotated[int, typer.Option(help="How often each library has its turn.")] = 9,
    min_s: Annotated[float, typer.Option(help="Least seconds of a turn.")] = 0.2,
) -> None:
    """Time log-mels by several libraries and write benchmarks/results/features-*.json."""
    need("librosa", "threadpoolctl")
    place = find(device)
    n_clips = n_clips or (256 if place.type == "cuda" else 8)
    rows = hold(contest(clips.load(shards, n_clips, 30.0).to(place)), min_s=min_s, rounds=rounds)
    show(f"Log-mel of clips of 30 s, {n_clips} of them, {place}", *figures.contest(rows))
    print(f"written to {save('features', place, {'clips': n_clips, 'clip_s': 30.0, 'rounds': rounds}, rows)}")


if __name__ == "__main__":
    run(main)
