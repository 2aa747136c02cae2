"""Labels from a CSV: pack clips whose names say nothing about them, with labels and artists from a table.

python examples/labels_from_csv.py --folder csv-demo/

The clips are made here, too. With your own, only `pack` and `Loader` are needed. On the command line:
gtzan-stream pack music/ shards/ --labels labels.csv
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile

from gtzan_stream import Loader, pack

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--folder", default="csv-demo/")
folder = Path(parser.parse_args().folder)

# 40 clips of four seconds by 20 artists, half of whom play low notes. Random splits never divide a group.
(folder / "music").mkdir(parents=True, exist_ok=True)
lines = ["path,label,group"]
for number in range(40):
    artist = number // 2
    label, tone_hz = [("low", 200), ("high", 2000)][artist % 2]
    samples = 0.2 * np.sin(2 * np.pi * (tone_hz + number) * np.arange(4 * 22050) / 22050)
    soundfile.write(folder / f"music/{number:03d}.wav", samples, 22050)
    lines.append(f"{number:03d}.wav,{label},artist {artist}")
(folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

manifest = pack(folder / "music", folder / "shards", labels=folder / "labels.csv")
counts = {part: len(manifest.part("stratified", part)) for part in ("train", "valid", "test")}
print(f"{len(manifest)} clips, labels {manifest.labels}, split {counts}")

with Loader(folder / "shards", split="stratified", part="train", crops_per_clip=1, augment="none") as loader:
    batch = next(iter(loader))
    loudest = batch.features.mean(2).argmax(1)  # mel band
    for key, label, band in zip(batch.keys, batch.labels, loudest, strict=True):
        print(f"{key} is {loader.labels[label]}: loudest in mel band {band}")
