"""Your own feature: a chromagram, which tells the pitch classes in each frame. Any module with a geometry will do.

python examples/own_feature.py --shards shards/
"""

import argparse

import torch
from torch import Tensor, nn

from gtzan_stream import Geometry, Loader
from gtzan_stream.augment import PitchShift

NAMES = ["A", "A#", "B", "C", "C#", "D", "D#", "E", "F", "F#", "G", "G#"]


class Chroma(nn.Module):
    """The share of each of twelve pitch classes, from A to G#: [batch, time] to [batch, 12, frame]."""

    fold: Tensor
    window: Tensor

    def __init__(self, sample_rate: int = 22050, frames: int = 32) -> None:
        super().__init__()
        # Says which samples a crop reads; the value of silence (0 by default) fills frames after a clip's end.
        self.geometry = Geometry.of_stft(sample_rate=sample_rate, n_fft=4096, hop_length=2048, frames=frames)
        frequency = torch.fft.rfftfreq(4096, 1 / sample_rate)
        pitch_class = (12 * torch.log2(frequency.clamp(min=1) / 440)).round().long() % 12
        is_used = (frequency > 100) & (frequency < 5000)  # Hz; bins below are wider than a semitone
        self.register_buffer("fold", nn.functional.one_hot(pitch_class, 12).T * is_used.float())  # [12, bin]
        self.register_buffer("window", torch.hann_window(4096))

    def forward(self, waveform: Tensor) -> Tensor:
        """Compute the frames inside the waveform; nothing is padded."""
        frames = waveform.unfold(1, self.geometry.frame_length, self.geometry.step)  # [batch, frame, n_fft]
        power = torch.fft.rfft(frames * self.window).abs().square()
        chroma = self.fold @ power.transpose(1, 2)
        return chroma / chroma.sum(1, keepdim=True).clamp(min=1e-8)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", default="shards/")
    arguments = parser.parse_args()

    chroma = Chroma()
    tone = 0.1 * torch.sin(2 * torch.pi * 440 * torch.arange(44100) / 22050)[None]
    for n_steps in (0, 3, 7):
        loudest = chroma(PitchShift(n_steps, n_steps)(tone)).mean(2).argmax(1)
        print(f"a tone of 440 Hz, {n_steps} semitones up, is {NAMES[loudest]}")

    with Loader(arguments.shards, split="stratified", part="train", batch_size=8, features=chroma) as loader:
        batch = next(iter(loader))
    print(f"features {list(batch.features.shape)}")
    for key, row in zip(batch.keys, batch.features.mean(2), strict=True):
        print(f"{key}: mostly {', '.join(NAMES[i] for i in row.argsort(descending=True)[:3])}")
