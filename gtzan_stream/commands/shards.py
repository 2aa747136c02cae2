"""Commands about shards: demo, fetch, pack, index, info, verify."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from gtzan_stream import console, folders
from gtzan_stream.commands.options import (
    Address,
    Codec,
    GroupBy,
    LabelDepth,
    LabelFile,
    NumWorkers,
    OnError,
    Shards,
    SplitFile,
)
from gtzan_stream.console import print_summary, progress_bar, progress_bars
from gtzan_stream.errors import UserError


def demo(
    folder: Shards,
    seed: Annotated[int, typer.Option(min=0, help="Each seed gives a different set.")] = 0,
    num_workers: NumWorkers = None,
) -> None:
    """Synthesise a set of ten genres and pack it into DIR, with a split `demo`, to try things without a download."""
    from gtzan_stream import demo as demo_set
    from gtzan_stream.store.manifest import Manifest
    from gtzan_stream.store.pack import pack as pack_folder
    from gtzan_stream.store.tables import MANIFEST

    if (folder / MANIFEST).exists() and Manifest.open(folder).dataset != "demo":
        raise UserError(f"{folder} holds another data set: choose another folder for the demo set, or remove that one")
    with folders.created(folder), folders.scratch(Path(tempfile.gettempdir()), "gtzan-stream-demo-") as temporary:
        with progress_bar("synthesising") as progress:
            music, split = demo_set.write(temporary, seed=seed, progress=progress)
        with progress_bar("packing") as progress:
            manifest = pack_folder(music, folder, splits=split, name="demo", num_workers=num_workers, progress=progress)
    print_summary(manifest)


def fetch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the archive and the clips.")],
    url: Annotated[str | None, typer.Option(help="Another address of the archive: http(s):// or file://.")] = None,
) -> None:
    """Download GTZAN into DIR, unpack it, and compare every clip with the original. Pack it afterwards."""
    from gtzan_stream.catalog.fetch import URL
    from gtzan_stream.catalog.fetch import fetch as fetch_archive

    with progress_bars() as progress:
        report = fetch_archive(folder, url or URL, progress=progress)
    console.print_line(str(report))
    console.print_line(f"pack it with `gtzan-stream pack {report.folder} shards/`")


def pack(
    src: Annotated[Path, typer.Argument(metavar="SRC", help="Folder with <label>/<clip>.<ext>, at any depth.")],
    folder: Shards,
    label_depth: LabelDepth = None,
    labels: LabelFile = None,
    group_by: GroupBy = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print labels, keys and warnings; pack nothing.")] = False,
    splits: SplitFile = None,
    codec: Annotated[Codec, typer.Option(help="Format in which clips are stored.")] = Codec.wav,
    sample_rate: Annotated[int, typer.Option(help="Sample rate in Hz; other clips are resampled.")] = 22050,
    shard_mb: Annotated[float, typer.Option(help="Size of a shard in megabytes.")] = 64.0,
    num_workers: NumWorkers = None,
    on_error: Annotated[OnError, typer.Option(help="Skip clips that cannot be packed, or fail.")] = OnError.skip,
    name: Annotated[str | None, typer.Option(help="Name of the data set; by default the name of SRC.")] = None,
) -> None:
    """Pack the music in SRC into shards in DIR, replacing any set there, and report issues.

    Labels are the folders of the first level below SRC with more than one audio folder, or else each clip's own folder.

    Folders named train, valid (or validation, val, dev) and test are a split, not labels.
    """
    from gtzan_stream.store.pack import pack as pack_folder
    from gtzan_stream.store.pack import refuse_overlap
    from gtzan_stream.store.survey import describe_splits, survey

    if dry_run:
        refuse_overlap(src, folder)
        found = survey(src, label_depth=label_depth, labels=labels, group_by=group_by)
        for line in [*found.describe(), *describe_splits(found, splits)]:
            console.print_line(line)
        return
    with progress_bar("packing") as progress:
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
            announce=lambda found: console.stderr.print("\n".join(found.describe()), markup=False),
        )
    print_summary(manifest)


def index(folder: Shards, splits: SplitFile = None, num_workers: NumWorkers = None) -> None:
    """Write a manifest for the WebDataset shards in DIR, if another program packed them."""
    from gtzan_stream.store.index import index as index_folder

    with progress_bar("reading shards") as progress:
        manifest = index_folder(folder, splits=splits, num_workers=num_workers, progress=progress)
    print_summary(manifest)


def info(
    folder: Address,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    issues: Annotated[bool, typer.Option("--issues", help="Print all issues of the report, and nothing else.")] = False,
) -> None:
    """Describe the shards in DIR: clips, labels, splits, and issues that were found when they were packed."""
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


def verify(folder: Address, num_workers: NumWorkers = None) -> None:
    """Read and decode every clip in DIR; name each damaged one and exit with status 1 if there are any."""
    from gtzan_stream.store.manifest import Manifest
    from gtzan_stream.store.verify import verify as verify_folder

    manifest = Manifest.open(folder, check_sizes=False)
    with progress_bar("verifying") as progress:
        problems = verify_folder(manifest, num_workers=num_workers, progress=progress)
    for problem in problems:
        console.print_error(problem)
    if problems:
        raise typer.Exit(1)
    console.print_line(f"{folder}: {len(manifest)} clips in {len(manifest.shards)} shards are as the manifest says")
