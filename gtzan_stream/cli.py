"""The command line: `gtzan-stream demo | fetch | pack | index | info | verify | preview | classify`."""

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtzan_stream import console, folders
from gtzan_stream.console import bar, print_summary, print_tracks, stages
from gtzan_stream.errors import BadSample, UserError, in_words
from gtzan_stream.options import Address, Codec, GroupBy, LabelDepth, LabelFile, NumWorkers, OnError, Shards, SplitFile
from gtzan_stream.settings import help_of

if TYPE_CHECKING:
    pass

app = typer.Typer(
    help="Music in WebDataset shards: make them, check them, look at them; and tell the genres of other files.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def setting(name: str) -> Any:
    """The option for a setting of features, with the words that train.py has for it."""
    return typer.Option(help=help_of(name), show_default=False)


@app.command()
def demo(
    folder: Shards,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another set.")] = 0,
    num_workers: NumWorkers = None,
) -> None:
    """Synthesise a ten-genre set and pack it into DIR, with its split `demo`: everything runs without a download."""
    from gtzan_stream import demo as demo_set
    from gtzan_stream.store.manifest import Manifest
    from gtzan_stream.store.pack import pack as pack_folder
    from gtzan_stream.store.tables import MANIFEST

    if (folder / MANIFEST).exists() and Manifest.open(folder).dataset != "demo":
        raise UserError(f"{folder} holds another data set: choose another folder for the demo set, or remove that one")
    with folders.created(folder), folders.scratch(Path(tempfile.gettempdir()), "gtzan-stream-demo-") as temporary:
        with bar("synthesising") as progress:
            music, split = demo_set.write(temporary, seed=seed, progress=progress)
        with bar("packing") as progress:
            manifest = pack_folder(music, folder, splits=split, name="demo", num_workers=num_workers, progress=progress)
    print_summary(manifest)


@app.command()
def fetch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the archive and the clips.")],
    url: Annotated[str | None, typer.Option(help="Another address of the archive: http(s):// or file://.")] = None,
) -> None:
    """Download GTZAN into DIR, unpack it and compare every clip with the original; then pack it."""
    from gtzan_stream.catalog.fetch import URL
    from gtzan_stream.catalog.fetch import fetch as fetch_archive

    with stages() as progress:
        report = fetch_archive(folder, url or URL, progress=progress)
    console.print_line(str(report))
    console.print_line(f"pack it with `gtzan-stream pack {report.folder} shards/`")


@app.command()
def pack(
    src: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of <label>/<clip>.<ext>, at any depth.")],
    folder: Shards,
    label_depth: LabelDepth = None,
    labels: LabelFile = None,
    group_by: GroupBy = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print labels, keys and warnings; pack nothing.")] = False,
    splits: SplitFile = None,
    codec: Annotated[Codec, typer.Option(help="How clips are stored.")] = Codec.wav,
    sample_rate: Annotated[int, typer.Option(help="In Hz; other rates are resampled.")] = 22050,
    shard_mb: Annotated[float, typer.Option(help="Megabytes a shard.")] = 64.0,
    num_workers: NumWorkers = None,
    on_error: Annotated[OnError, typer.Option(help="Leave out clips that cannot be packed, or stop.")] = OnError.skip,
    name: Annotated[str | None, typer.Option(help="Name of the data set; that of SRC by default.")] = None,
) -> None:
    """Pack the music in SRC into shards in DIR, in place of the set that is there, and report what is odd.

    Labels are the folders of the first level below SRC that has several with audio, else each clip's own folder.

    Folders named train, valid (or validation, val, dev) and test are a split, not labels.
    """
    from gtzan_stream.store.pack import pack as pack_folder
    from gtzan_stream.store.pack import refuse_overlap
    from gtzan_stream.store.survey import split_lines, survey

    if dry_run:
        refuse_overlap(src, folder)
        found = survey(src, label_depth=label_depth, labels=labels, group_by=group_by)
        for line in [*found.lines(), *split_lines(found, splits)]:
            console.print_line(line)
        return
    with bar("packing") as progress:
        manifest = pack_folder(
            src,
            folder,
            label_depth=label_depth,
            labels=labels,
            group_by=group_by,
            splits=splits,
            codec=codec.value,
            sample_rate=sample_rate,
            shard_mb=shard_mb,
            num_workers=num_workers,
            on_error=on_error.value,
            name=name,
            progress=progress,
            announce=lambda found: console.errors.print("\n".join(found.lines()), markup=False),
        )
    print_summary(manifest)


@app.command()
def index(folder: Shards, splits: SplitFile = None, num_workers: NumWorkers = None) -> None:
    """Make a manifest for the WebDataset shards in DIR that somebody else packed."""
    from gtzan_stream.store.index import index as index_folder

    with bar("reading shards") as progress:
        manifest = index_folder(folder, splits=splits, num_workers=num_workers, progress=progress)
    print_summary(manifest)


@app.command()
def info(
    folder: Address,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    issues: Annotated[bool, typer.Option("--issues", help="Print the whole report, and nothing else.")] = False,
) -> None:
    """Describe the shards in DIR: clips, labels, splits, and what was odd when they were packed."""
    from gtzan_stream.store.manifest import Manifest
    from gtzan_stream.store.summary import summary

    manifest = Manifest.open(folder)
    if as_json:
        metadata = summary(manifest, all_issues=issues)
        console.print_json(metadata["report"] if issues else metadata)
    elif issues:
        console.print_issues(manifest.report)
    else:
        print_summary(manifest)


@app.command()
def verify(folder: Address, num_workers: NumWorkers = None) -> None:
    """Re-read and decode everything in DIR; exit 1 and name every member that is bad."""
    from gtzan_stream.store.manifest import Manifest
    from gtzan_stream.store.verify import verify as verify_folder

    manifest = Manifest.open(folder, check_sizes=False)
    with bar("verifying") as progress:
        problems = verify_folder(manifest, num_workers=num_workers, progress=progress)
    for problem in problems:
        console.print_error(problem)
    if problems:
        raise typer.Exit(1)
    console.print_line(f"{folder}: {len(manifest)} clips in {len(manifest.shards)} shards are as the manifest says")


@app.command()
def preview(
    folder: Address,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("preview.png"),
    augment: Annotated[
        str,
        typer.Option(help="Recipe of augmentation; a wrong name lists them all, module:function is one of your own."),
    ] = "study",
    split: Annotated[str | None, typer.Option(help="Split of the data; all clips by default.")] = None,
    part: Annotated[str | None, typer.Option(help="Part of the split; train by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="As that of a training run.")] = 0,
    epoch: Annotated[int, typer.Option(min=0, help="As that of a training run, from 0.")] = 0,
    count: Annotated[int, typer.Option(min=1, max=64, help="Crops to show.")] = 8,
    frames: Annotated[int | None, setting("frames")] = None,
    sample_rate: Annotated[int | None, setting("sample_rate")] = None,
    n_fft: Annotated[int | None, setting("n_fft")] = None,
    hop_length: Annotated[int | None, setting("hop_length")] = None,
    n_mels: Annotated[int | None, setting("n_mels")] = None,
    f_min: Annotated[float | None, setting("f_min")] = None,
    f_max: Annotated[float | None, setting("f_max")] = None,
) -> None:
    """Draw the first crops of an epoch of training: log-mels of the clip as it is, and as the loader augments it."""
    from gtzan_stream.features import build
    from gtzan_stream.inference.preview import pairs, picture
    from gtzan_stream.loader import Loader
    from gtzan_stream.store.manifest import Manifest

    features = build(
        "logmel",
        frames=frames,
        sample_rate=Manifest.open(folder).sample_rate if sample_rate is None else sample_rate,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        f_min=f_min,
        f_max=f_max,
    )
    part = part or ("train" if split else None)
    with Loader(
        folder, split=split, part=part, batch_size=count, augment=augment, features=features, seed=seed, num_workers=0
    ) as loader:
        loader.set_epoch(epoch)
        geometry = loader.features.geometry
        picture(out, pairs(loader), frame_s=geometry.step / geometry.sample_rate)
    console.print_line(f"{out}: the first {count} crops of epoch {epoch}, augmentation {augment}, seed {seed}")


@app.command()
def classify(
    path: Annotated[Path, typer.Argument(metavar="MODEL", help="The model.pt2 that train.py writes.")],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Audio; m4a and videos with the extra av."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the probabilities over time.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the probabilities over time: a PNG, or a folder for one of each file.")
    ] = None,
) -> None:
    """Tell the genre of audio files: probabilities of each track, the mean over its chunks."""
    from gtzan_stream.inference.classify import classify as classify_file
    from gtzan_stream.inference.export import Model

    if plot is not None and plot.suffix.lower() == ".png" and len(files) > 1:
        raise UserError(f"--plot {plot} is one picture for {len(files)} files: name a folder")
    model = Model.load(path)
    tracks, failed = [], False
    with bar("classifying") as progress:
        for done, file in enumerate(files):
            progress(done, len(files))
            try:
                track = classify_file(model, file)
                tracks.append(track)
                if track.damage:
                    console.print_error(f"gtzan-stream: {file}: {track.damage}; classified by what there is")
            except UserError as error:
                failed = True
                console.print_error(f"gtzan-stream: {error}")
    if as_json:
        console.print_json([track.to_dict() for track in tracks])
    elif tracks:
        print_tracks(tracks)
    if plot is not None:
        from gtzan_stream.inference.timeline import timelines

        timelines(plot, tracks)
    if failed:
        raise typer.Exit(2)


def main() -> None:
    """Run the command line: a mistake of the user's is one sentence on stderr and exit code 2, never a stack trace."""
    try:
        console.escape_unprintable()
        app()
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != 130:  # what typer makes of Ctrl-C
            raise
        console.print_error("gtzan-stream: interrupted")
        sys.exit(130)
    except (UserError, BadSample, OSError) as error:
        console.print_error(f"gtzan-stream: {in_words(error)}")
        sys.exit(2)
