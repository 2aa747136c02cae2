"""Commands about the examples of an epoch: preview and replay."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gtzan_stream import console
from gtzan_stream.commands.interrupt import on_interrupt
from gtzan_stream.commands.options import setting
from gtzan_stream.errors import UserError
from gtzan_stream.feature_settings import option_name
from gtzan_stream.words import FROM_THE_BEGINNING
from gtzan_stream.words import count as count_words

Source = Annotated[
    str, typer.Argument(metavar="DIR", help="Folder of shards, or their address; or the folder of a run of train.py.")
]
Augment = Annotated[
    str | None,
    typer.Option(help="Augmentation recipe, or module:function for your own; an unknown name lists all recipes."),
]
Split = Annotated[str | None, typer.Option(help="Split of the data set; all clips by default.")]
Part = Annotated[str | None, typer.Option(help="Part of the split; train by default.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the training run; 0 by default.")]
Epoch = Annotated[int, typer.Option(min=0, help="Epoch of the training run, counted from 0.")]
MovedShards = Annotated[str | None, typer.Option("--shards", help="Where a run's shards are, if they were moved.")]


def preview(
    source: Source,
    out: Annotated[Path, typer.Option(help="File to write: a page, .html, or a picture, .png.")] = Path("preview.html"),
    augment: Augment = None,
    split: Split = None,
    part: Part = None,
    seed: Seed = None,
    epoch: Epoch = 0,
    count: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Number of crops. By default 8 in a picture, in a page one of each label."),
    ] = None,
    shards: MovedShards = None,
    frames: Annotated[int | None, setting("frames")] = None,
    sample_rate: Annotated[int | None, setting("sample_rate")] = None,
    n_fft: Annotated[int | None, setting("n_fft")] = None,
    hop_length: Annotated[int | None, setting("hop_length")] = None,
    n_mels: Annotated[int | None, setting("n_mels")] = None,
    f_min: Annotated[float | None, setting("f_min")] = None,
    f_max: Annotated[float | None, setting("f_max")] = None,
) -> None:
    """Write a page to hear and see the crops of a training epoch.

    It plays them untouched and augmented, also with each transform alone at several strengths, and shows
    what is in the set. It is one file and loads nothing else. With a name that ends in .png, it is a picture.
    """
    from gtzan_stream.inference import preview_page
    from gtzan_stream.inference.preview import plot_preview

    suffix = out.suffix.lower()
    if suffix not in (".html", ".png"):
        raise UserError(f"--out {out}: a preview is a page, .html, or a picture, .png")
    given = {
        "frames": frames,
        "sample_rate": sample_rate,
        "n_fft": n_fft,
        "hop_length": hop_length,
        "n_mels": n_mels,
        "f_min": f_min,
        "f_max": f_max,
    }
    with (
        on_interrupt(lambda: f"{out} was not written; {FROM_THE_BEGINNING}"),
        console.progress_bars(f"opening {source}") as progress,
    ):
        loader, name, _ = _open(source, augment, split, part, seed, shards, given, epoch=epoch)
        with loader:
            if suffix == ".png":
                plot_preview(out, loader, epoch=epoch, count=count or 8)
                shown = f"the first {count or 8} crops"
            else:
                n_clips = preview_page.write(out, loader, augment=name, epoch=epoch, count=count, progress=progress)
                shown = count_words(n_clips, "crop")
    how = f"; open it in a browser ({out.stat().st_size / 1e6:.0f} MB)" if suffix == ".html" else ""
    console.print_line(f"{out}: {shown} of epoch {epoch}, augmentation {name}, seed {loader.seed}{how}")


def replay(
    source: Source,
    key: Annotated[str, typer.Option(help="Key of the clip.")],
    out: Annotated[Path, typer.Option(help="WAV file to write, with samples in 32-bit floats.")],
    crop: Annotated[int, typer.Option(min=0, help="Index of the crop.")] = 0,
    epoch: Epoch = 0,
    untouched: Annotated[
        Path | None, typer.Option(help="Another WAV file, for the same crop without augmentation.")
    ] = None,
    augment: Augment = None,
    seed: Seed = None,
    shards: MovedShards = None,
    frames: Annotated[int | None, setting("frames")] = None,
    sample_rate: Annotated[int | None, setting("sample_rate")] = None,
    n_fft: Annotated[int | None, setting("n_fft")] = None,
    hop_length: Annotated[int | None, setting("hop_length")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a line.")] = False,
) -> None:
    """Write what a network heard of one crop to a sound file.

    These are exactly the samples that its features were computed from in that epoch.

    Name the folder of a run to hear what that run heard, or shards and the settings of a run.
    """
    from gtzan_stream.inference.replay import replay as write_replay

    for option, path in (("--out", out), ("--untouched", untouched)):
        if path is not None and path.suffix.lower() != ".wav":
            raise UserError(f"{option} {path}: a replay is a WAV file, with the suffix .wav")
    if untouched == out:
        raise UserError(f"--untouched {untouched} is also the file of --out: name another")
    given = {"frames": frames, "sample_rate": sample_rate, "n_fft": n_fft, "hop_length": hop_length}
    loader, _, mixup = _open(source, augment, None, None, seed, shards, given, crop=crop, epoch=epoch, key=key)
    with loader:
        written = {**write_replay(loader, key, crop, epoch, out, untouched=untouched), "mixup": mixup}
    if as_json:
        console.print_json(written)
        return
    console.print_line(
        "{file}: {key}, crop {crop} of epoch {epoch}, from {start_s:.2f} s: {augmentation}; {seconds:.2f} s at "
        "{sample_rate} Hz".format(**written)
        + ("; mixup then mixed its features with another crop's" if mixup else "")
    )


def _open(
    source: str,
    augment: str | None,
    split: str | None,
    part: str | None,
    seed: int | None,
    shards: str | None,
    given: dict[str, Any],
    *,
    crop: int = 0,
    epoch: int = 0,
    key: str | None = None,
) -> tuple[Any, str, bool]:
    """Open the loader of a run or of shards; return it, the name of its recipe, and whether the run mixed examples."""
    from gtzan_stream.features import build
    from gtzan_stream.loader import Loader
    from gtzan_stream.store.manifest import Manifest
    from gtzan_stream.training import stored

    given = {name: value for name, value in given.items() if value is not None}
    if not stored.is_run(source):
        if shards is not None:
            raise UserError(f"--shards goes with the folder of a run, and {source} is none")
        given.setdefault("sample_rate", Manifest.open(source).sample_rate)
        part = part or ("train" if split else None)
        name = augment or "study"
        loader = Loader(
            source,
            split=split,
            part=part,
            augment=name,
            features=build("logmel", **given),
            seed=seed or 0,
            num_workers=0,
        )
        return loader, name, False
    own = {"split": split, "part": part, "seed": seed, **given}
    if wrong := [option_name(name) for name in own if own[name] is not None]:
        raise UserError(
            f"{', '.join(wrong)}: the run in {source} has its own; leave it out, or name the shards instead"
        )
    config, loader = stored.open_training_loader(Path(source), shards=shards, augment=augment)
    try:
        stored.check_heard(Path(source), config, loader, key=key, crop=crop, epoch=epoch)
    except UserError:
        loader.close()
        raise
    return loader, config.augment, config.mixup > 0
