"""Your own transform: an echo, with its own delay and level for each example.

python examples/own_transform.py --shards shards/

To train with it: PYTHONPATH=examples python train.py --augment own_transform:Echo
"""

import argparse

import numpy as np
import torch
from torch import Tensor

from gtzan_stream import Loader
from gtzan_stream.augment import Draw, Examples, Source, Transform


class Echo(Transform):
    """Add one echo after 0.1 to 0.3 s, at 0.3 to 0.7 of the level."""

    def __init__(self, *, sample_rate: int = 22050, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.sample_rate = sample_rate

    def parameters_of(self, examples: Examples, path: str) -> dict[str, np.ndarray]:
        """Draw float64 [batch] each. The numbers are functions of seed, epoch, key, crop and this name."""
        delay_s = 0.1 + 0.2 * examples.uniform(f"{path}.delay")
        level = 0.3 + 0.4 * examples.uniform(f"{path}.level")
        return {"delay": np.floor(delay_s * self.sample_rate), "level": level}

    def source_of(self, length: np.ndarray, draw: Draw) -> Source:
        """Ask the loader for the music before the crop, whose echo is heard in it."""
        delay = draw.values["delay"].astype(np.int64)
        return Source(delay, length + delay)

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        """Add the echo to rows [batch, time]. Row i begins `delay[i]` samples early; a whole clip does not."""
        delay = torch.as_tensor(draw.values["delay"], device=waveform.device).long()[:, None]
        level = torch.as_tensor(draw.values["level"], device=waveform.device).to(waveform.dtype)[:, None]
        time = torch.arange(waveform.shape[1] if length is None else length, device=waveform.device).expand(
            len(delay), -1
        )
        if length is None:
            echo = waveform.gather(1, (time - delay).clamp(min=0)) * (time >= delay)
            return waveform + level * echo
        return waveform.gather(1, time + delay) + level * waveform[:, :length]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", default="shards/")
    arguments = parser.parse_args()

    echo, keys, clicks = Echo(), ["a", "b", "c"], torch.zeros(3, 22050)
    clicks[:, 1000] = 1
    for row, samples in enumerate(echo(clicks, keys)):
        print(f"{keys[row]}: {echo.draw(keys).describe(row)}: clicks at samples {samples.nonzero().flatten().tolist()}")

    with Loader(arguments.shards, split="stratified", part="train", batch_size=8, augment=Echo(p=0.5)) as loader:
        batch = next(iter(loader))
        changed = (batch.features - loader.unaugmented(batch)).abs().amax((1, 2))
        for row, key in enumerate(batch.keys):
            print(f"{key}: features change by up to {changed[row]:.3f}: {batch.draw.describe(row)}")
