"""The transforms on your own batch of waveforms: no shards, no loader, any device.

python examples/transforms_on_own_batch.py
"""

import torch

from gtzan_stream.augment import Compose, Gain, PitchShift, TimeStretch

RATE = 22050


def frequency_hz(waveform: torch.Tensor) -> list[float]:
    """Return the frequency of the largest peak of each row's spectrum."""
    spectrum = torch.fft.rfft(waveform * torch.hann_window(waveform.shape[1]), n=8 * RATE).abs()
    return [peak / 8 for peak in spectrum.argmax(1).tolist()]


tone = 0.1 * torch.sin(2 * torch.pi * 440 * torch.arange(3 * RATE) / RATE)
batch = tone.repeat(4, 1)  # [batch, time]: four tones of 440 Hz

# Each row gets its own parameters, and each call draws new ones.
shift = PitchShift(-4, 4)
for call in range(2):
    print(f"call {call}: 440 Hz becomes", ", ".join(f"{hz:.1f} Hz" for hz in frequency_hz(shift(batch))))

# With keys, they are a function of seed, epoch and key. You can draw them first, and look at them.
keys = ["a", "b", "c", "d"]
draw = shift.draw(keys, seed=0, epoch=3)
shifted = shift.apply(batch, draw)
for key, n_steps, hz in zip(keys, draw.values["n_steps"], frequency_hz(shifted), strict=True):
    print(f"{key}: {n_steps:+.2f} semitones, expected {440 * 2 ** (n_steps / 12):.1f} Hz, measured {hz:.1f} Hz")
alone = shift(batch[2:3], ["c"], seed=0, epoch=3)
print("c sounds the same in a batch and alone:", torch.equal(alone[0], shifted[2]))

# A chain. The channels of an example share its parameters: [batch, channel, time].
chain = Compose([TimeStretch(0.8, 1.25, p=0.5), Gain.in_db(-12, 0)])
for row, key in enumerate(keys):
    print(f"{key}: {chain.draw(keys).describe(row)}")
stereo = chain(torch.stack([batch, -batch], dim=1), keys)
print(f"stereo {list(stereo.shape)}, right is still -left:", torch.equal(stereo[:, 1], -stereo[:, 0]))
