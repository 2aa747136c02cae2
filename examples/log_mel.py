"""LogMel alone: log-mel spectrograms of any waveforms [batch, time], batched, on any device, with gradients.

python examples/log_mel.py
"""

import torch

from gtzan_stream import LogMel

RATE = 22050

log_mel = LogMel(sample_rate=RATE, n_mels=64, power=2, compression="db")
print(log_mel.geometry)  # how many samples a frame and a crop read

time = torch.arange(log_mel.geometry.read_length) / RATE
loudness = torch.tensor([0.5, 0.05, 0.005])[:, None]
waveform = loudness * torch.sin(2 * torch.pi * 1000 * time)  # [3, time]: a tone of 1 kHz, each 20 dB softer
features = log_mel(waveform)
print(f"{list(waveform.shape)} samples make features {list(features.shape)}")
peaks = features.mean(2).max(1)  # the loudest band of each row
print("the loudest band is", peaks.indices.tolist(), "with", ", ".join(f"{level:.1f} dB" for level in peaks.values))

# Nothing is padded: extend a clip by n_fft // 2 samples at each end for centred frames, as the loader does.
context = log_mel.geometry.context
clip = torch.nn.functional.pad(waveform, (context, context), mode="reflect")
print(f"frames of the whole clip: {log_mel(clip).shape[2]}")

# It can be a layer of a network: gradients reach the samples.
(gradient,) = torch.autograd.grad(log_mel(waveform.requires_grad_()).mean(), waveform)
print("gradients are finite:", bool(gradient.isfinite().all()))
