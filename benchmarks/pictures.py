"""Draw the pictures of the documents from a synthesised clip: ``python benchmarks/pictures.py``.

Each augmentation gets a picture in docs/pictures, with the two ends of a range, and README.md one with all of them.
pictures.json holds what the pictures show in numbers, so that a test sees when they are older than the code.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure, SubFigure

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib.common import run
from gtzan_stream import demo
from gtzan_stream.augment import (
    Gain,
    GaussianNoise,
    Percussive,
    PitchShift,
    SpeedPerturb,
    TimeShift,
    TimeStretch,
    Transform,
)
from gtzan_stream.features import LogMel
from gtzan_stream.inference.png import write_png
from gtzan_stream.inference.strengths import strengths_of
from gtzan_stream.pages import Scale, hz_ticks

FOLDER = Path(__file__).parent.parent / "docs/pictures"
RATE, START_S, SHOWN_S = 22050, 3.0, 3.0
SHOWN: list[Transform] = [
    GaussianNoise(0.02, 0.1),
    TimeShift(-8000, 8000),
    TimeStretch(0.8, 1.25),
    PitchShift(-4.0, 4.0),
    SpeedPerturb(0.8, 1.25),
    Gain(0.5, 2.0),
    Percussive(),
]
"""The augmentations, with ranges whose ends can be told apart in a picture."""
Sound = dict[str, np.ndarray]
"""The waveform [time] and the log-mel [mel, frame] of a crop."""


def sounds() -> dict[str, dict[str, Sound]]:
    """Compute what the pictures show: for each augmentation the untouched crop and its strengths, by their words."""
    waveform = torch.from_numpy(demo.synthesise("disco", 0, clip_s=2 * START_S + SHOWN_S))[None]
    waveform *= 0.5 / waveform.abs().max()
    drawn: dict[str, dict[str, Sound]] = {}
    for transform in SHOWN:
        of_strength = {name: at for name, at in strengths_of(transform).items() if name != "middle"}
        of_strength = of_strength or strengths_of(transform)
        drawn[type(transform).__name__] = {"untouched": _crop(waveform)}
        for at in of_strength.values():
            draw = at.draw(["disco"])
            drawn[type(transform).__name__][draw.describe(0)] = _crop(at.apply(waveform, draw))
    return drawn


def _crop(waveform: torch.Tensor) -> Sound:
    crop = waveform[:, int(START_S * RATE) : int((START_S + SHOWN_S) * RATE)]
    return {"waveform": crop[0].numpy(), "log_mel": LogMel()(crop)[0].numpy()}


def figures(drawn: dict[str, dict[str, Sound]]) -> dict[str, Any]:
    """Describe the pictures in numbers that differ little between machines."""
    return {
        name: {
            words: {
                "level": round(float(np.sqrt(np.mean(sound["waveform"] ** 2))), 4),
                "bands": sound["log_mel"].reshape(8, 16, -1).mean((1, 2)).round(4).tolist(),
                "times": np.array_split(sound["log_mel"].mean(0), 8)[3].round(4).tolist(),
            }
            for words, sound in of_name.items()
        }
        for name, of_name in drawn.items()
    }


def source_digest() -> str:
    """Return a digest of this program."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


def panel(part: Figure | SubFigure, sound: Sound, title: str, scale: Scale, full_scale: float) -> None:
    """Draw a waveform above its log-mel spectrogram."""
    top, bottom = part.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [1, 3]})
    waveform, image = sound["waveform"], sound["log_mel"]
    seconds = np.arange(len(waveform)) / len(waveform) * SHOWN_S
    top.plot(seconds, waveform, linewidth=0.4, color="#8c2981")
    top.set(ylim=(-full_scale, full_scale), yticks=[])
    top.set_title(title, fontsize=10, loc="left")
    top.spines[["top", "right", "left"]].set_visible(False)
    bottom.imshow(
        scale.colour(image), origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=255,
        extent=(0, SHOWN_S, 0, 1), interpolation="nearest",
    )  # fmt: skip
    ticks = hz_ticks(LogMel().centres_hz)
    bottom.set_yticks([tick.share for tick in ticks], [tick.label for tick in ticks], fontsize=7)
    bottom.set_xticks(range(int(SHOWN_S) + 1))
    bottom.tick_params(labelsize=7, length=2)
    bottom.set_ylabel("Hz", fontsize=7)


def draw(panels: dict[str, Sound], path: Path, n_columns: int) -> None:
    """Draw crops beside each other, on one scale of colours and one of amplitude."""
    scale = Scale.of([sound["log_mel"] for sound in panels.values()])
    full_scale = max(float(np.abs(sound["waveform"]).max()) for sound in panels.values())
    n_rows = -(-len(panels) // n_columns)
    figure = Figure(figsize=(3.3 * n_columns, 2.5 * n_rows), layout="constrained", dpi=110)
    parts: Any = figure.subfigures(n_rows, n_columns, squeeze=False)
    for part, (title, sound) in zip(parts.flat, panels.items(), strict=False):
        panel(part, sound, title, scale, full_scale)
    write_png(path, figure)


def main(folder: Path = FOLDER) -> None:
    """Draw all pictures into docs/pictures."""
    drawn = sounds()
    for name, of_name in drawn.items():
        draw(of_name, folder / f"{name}.png", n_columns=len(of_name))
    strongest = {"untouched": next(iter(drawn.values()))["untouched"]}
    strongest |= dict(list(of_name.items())[-1] for of_name in drawn.values())
    draw(strongest, folder / "augmentations.png", n_columns=4)
    content = {"source": source_digest(), "figures": figures(drawn)}
    (folder / "pictures.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{len(drawn) + 1} pictures are in {folder}")


if __name__ == "__main__":
    run(main)
