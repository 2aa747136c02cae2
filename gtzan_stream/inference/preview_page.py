"""The preview page: hear and see what training gets, before and after augmentation, and what is in the set."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gtzan_stream import __version__, pages
from gtzan_stream.atomic import write_text
from gtzan_stream.augment.base import Transform
from gtzan_stream.augment.compose import Identity
from gtzan_stream.augment.recipes import recipe
from gtzan_stream.batch import Batch
from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from gtzan_stream.inference.first_crops import first_of_each_label
from gtzan_stream.inference.set_facts import set_facts
from gtzan_stream.inference.strengths import leaves, strengths_of
from gtzan_stream.loader import Loader
from gtzan_stream.pages import Scale

MOST_LABELS = 12
"""Most clips that a page shows if their number was not chosen."""


def write(
    path: Path,
    loader: Loader,
    *,
    augment: str,
    epoch: int = 0,
    count: int | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> int:
    """Write the page for the first crops of each label in an epoch.

    Parameters
    ----------
    path : Path
        File to write; its folder is created.
    loader : Loader
        Its features are shown if they are `LogMel`; else those of `LogMel` at the same sample rate.
    augment : str
        The recipe that the page begins with. Its transforms can be heard alone, too, and other recipes.
    epoch : int
    count : int, optional
        Number of crops. By default one of each label, at most `MOST_LABELS`.
    progress : callable (stage, done, total)

    Returns
    -------
    int
        Number of crops on the page.

    Raises
    ------
    UserError
        If all clips are much shorter than a crop, or training skips all crops that would be shown.
    """
    n_labels = len(np.unique(loader.manifest.label[loader._plan(epoch).layout.clips]))
    batch = first_of_each_label(loader, epoch, count or min(n_labels, MOST_LABELS))
    if not batch.weights.any():
        raise UserError(f"there is nothing to show, training skips these crops: {batch.skipped[0]}")
    menu = _menu(augment)
    geometry, features = loader.features.geometry, picture_features(loader)
    page = pages.render(
        "preview.html",
        augment=augment,
        epoch=epoch,
        seed=loader.seed,
        version=__version__,
        facts=set_facts(loader.manifest, loader.split, progress=partial(progress, "measuring levels")),
        ticks=pages.hz_ticks(features.centres_hz),
        seconds=geometry.stride / geometry.sample_rate,
        context_s=geometry.context / geometry.sample_rate,
        menu=[{"group": group, "name": name, "strengths": list(of_name)} for group, name, of_name in menu],
        **_clips(loader, batch, menu, partial(progress, "computing crops")),
    )
    write_text(path, page)
    return int(batch.weights.count_nonzero())


def picture_features(loader: Loader) -> LogMel:
    """Return the features that pictures of a loader's crops show: `LogMel`, with fewer bands for very short crops."""
    features, geometry = loader.features, loader.features.geometry
    if isinstance(features, LogMel):
        return features
    shown = LogMel(sample_rate=geometry.sample_rate)
    if (n_fft := shown.geometry.frame_length) > geometry.read_length:
        shorter = geometry.read_length // 2 * 2
        shown = LogMel(sample_rate=geometry.sample_rate, n_fft=shorter, n_mels=max(32 * shorter // n_fft, 1))
    return shown.to(loader._maker.device)


Menu = list[tuple[str, str, dict[str, Transform]]]
"""Entries of the menu: "recipe" or "transform", its name, and the transform at each strength (one, "", for recipes)."""


def _menu(augment: str) -> Menu:
    """List what can be heard: the recipe, other recipes of the package, and each transform of the recipe alone."""
    names = [augment, *(name for name in ("study", "strong") if name != augment)]
    recipes: Menu = [("recipe", name, {"": recipe(name)}) for name in names]
    alone = leaves(recipes[0][2][""])
    named = [type(transform).__name__ for transform in alone]
    titles = [f"{name} {named[:i].count(name) + 1}" if named.count(name) > 1 else name for i, name in enumerate(named)]
    transforms: Menu = [("transform", title, {**strengths_of(leaf)}) for title, leaf in zip(titles, alone, strict=True)]
    return [*recipes, *transforms]


def _clips(loader: Loader, batch: Batch, menu: Menu, progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Compute every crop of the page, on one scale of colours, and on one scale of amplitude for each clip."""
    computed, features = [], picture_features(loader)
    entries = [("untouched", "", Identity()), *((name, *entry) for _, name, of in menu for entry in of.items())]
    for done, (name, strength, transform) in enumerate(entries, 1):
        of_transform = replace(batch, transform=transform)
        samples = loader.waveforms(of_transform)
        images = loader.transformed(batch, transform) if features is loader.features else features(samples)
        computed.append((f"{name}/{strength}", of_transform.draw, samples.cpu().numpy(), images.cpu().numpy()))
        progress(done, len(entries))
    scale = Scale.of([images for *_, images in computed])
    geometry = loader.features.geometry
    clips = []
    for row in np.flatnonzero(batch.weights.cpu().numpy()).tolist():  # without crops that training skips
        full_scale = pages.peak(*(samples[row] for _, _, samples, _ in computed))
        own = {
            name: pages.draw_crop(
                samples[row],
                images[row],
                draw.describe(row),
                geometry=geometry,
                valid_frames=int(batch.valid_frames[row]),
                scale=scale,
                full_scale=full_scale,
            )._asdict()
            for name, draw, samples, images in computed
            if name == "untouched/" or draw.describe(row) != "unchanged"  # the page then shows the untouched crop
        }
        start_s = round(float(batch.starts[row]) / geometry.sample_rate, 2)
        label, index = loader.labels[int(batch.labels[row])], int(batch.crops[row])
        clips.append(
            {
                "key": batch.keys[row],
                "label": label,
                "crop": index,
                "start_s": start_s,
                "gain": pages.gain_words(full_scale),
                "crops": own,
            }
        )
    return {"clips": clips, "scale": scale, "scale_uri": pages.scale_uri()}
