"""Compare our log-mel with those of other libraries: ``python benchmarks/features.py --shards shards/``.

All libraries compute log10(1 + 10 m) for the same 128 bands m of whole clips of 30 s, and are timed as in `augment.py`.
On the CPU there is a second contest, with the frames of Whisper (25 ms, hop 10 ms, 80 bands), for which asrfront is
written. The clips' samples are taken for samples at 16 kHz there.
"""

import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import clips, mels, tables
from benchmarks.lib.common import Device, Shards, run, save, show
from benchmarks.lib.contest import OURS, TORCHAUDIO, Contender, Contest, Run, hold, need
from gtzan_stream.augment import Draw, Identity
from gtzan_stream.dsp.random import hash_keys
from gtzan_stream.features import LogMel, whole_clips
from gtzan_stream.training.device import find


def contest(waveform: Tensor) -> Contest:
    """Return the contest of log-mels, on these clips [batch, time]."""
    device = waveform.device
    ours = Contender(
        library=OURS, run=by_log_mel(LogMel().to(device)), exact=by_log_mel(LogMel().double().to(device)), batches=True
    )
    nnaudio = by_module("nnAudio", mels.nnaudio, device)
    torchaudio = by_module(TORCHAUDIO, mels.torchaudio, device)
    if device.type == "cuda":
        in_tf32 = replace(nnaudio, note="in TF32, which torch uses for convolutions on a GPU by default")
        in_float32 = replace(
            nnaudio, library="nnAudio in float32", run=by_log_mel(LogMel(trainable=True).to(device)), note=""
        )
        contenders = [ours, in_tf32, torchaudio, in_float32]
    else:
        librosa = Contender(library="librosa", run=mels.librosa(), exact=mels.librosa())
        contenders = [ours, nnaudio, torchaudio, librosa]
    return Contest(
        operation="log-mel",
        parameters="128 bands, frames of 1,024, hop 512",
        waveform=waveform,
        draw=Identity().draw(hash_keys([f"clip_{i}" for i in range(len(waveform))])),
        contenders=contenders,
        librosa=mels.librosa(),
    )


def whisper_contest(waveform: Tensor) -> Contest:
    """Return the contest of log-mels with Whisper's frames, on these clips [batch, time]."""
    ours = LogMel(**mels.WHISPER, compression="db")
    exact = as_run(mels.whisper(torch.float64))
    contenders = [
        Contender(library=OURS, run=by_log_mel(ours), exact=by_log_mel(copy.deepcopy(ours).double()), batches=True),
        Contender(library=TORCHAUDIO, run=as_run(mels.whisper()), exact=exact),
        Contender(library="asrfront", run=mels.asrfront(), exact=exact),
    ]
    return Contest(
        operation="log-mel, frames of Whisper",
        parameters="80 bands, frames of 400, hop 160",
        waveform=waveform,
        draw=Identity().draw(hash_keys([f"clip_{i}" for i in range(len(waveform))])),
        contenders=contenders,
    )


def as_run(function: Callable[[Tensor], Tensor]) -> Run:
    """Turn a function of clips [batch, time] into a `Run`."""

    def run(waveform: Tensor, draw: Draw) -> Any:
        with torch.no_grad():
            return function(waveform)

    return run


def by_log_mel(features: LogMel) -> Run:
    """Return a `Run` that computes our features of whole clips."""
    return as_run(partial(whole_clips, features))


def by_module(library: str, build: Callable[[], nn.Module], device: torch.device) -> Contender:
    """Return a contender that applies log10(1 + 10 m) to another library's mel spectrogram."""

    def compressed(mel: nn.Module) -> Run:
        return as_run(lambda waveform: torch.log10(1 + 10 * mel(waveform)))

    return Contender(library=library, run=compressed(build().to(device)), exact=compressed(build().double().to(device)))


def main(
    shards: Shards = Path("shards"),
    device_name: Device = "auto",
    n_clips: Annotated[int, typer.Option("--clips", help="Clips of 30 s; 0 for 8, or 256 on a GPU.")] = 0,
    rounds: Annotated[int, typer.Option(help="Number of timings of each library.")] = 9,
    min_s: Annotated[float, typer.Option(help="Minimum duration of each timing in seconds.")] = 0.2,
) -> None:
    """Time log-mels by several libraries and write benchmarks/results/features-*.json."""
    device = find(device_name)
    need("librosa", "threadpoolctl", *(["asrfront"] if device.type == "cpu" else []))
    n_clips = n_clips or (256 if device.type == "cuda" else 8)
    waveform = clips.load(shards, n_clips, 30.0).to(device)
    contests = [contest(waveform)] + ([whisper_contest(waveform)] if device.type == "cpu" else [])
    rows = [row for each in contests for row in hold(each, min_s=min_s, rounds=rounds)]
    show(f"Log-mel of clips of 30 s, {n_clips} of them, {device}", *tables.contest(rows))
    print(f"written to {save('features', device, {'clips': n_clips, 'clip_s': 30.0, 'rounds': rounds}, rows)}")


if __name__ == "__main__":
    run(main)
