"""Commands about shards: demo, fetch, pack, index, info, verify."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from gtzan_stream import console, folders
from gtzan_stream.commands.interrupt import on_interrupt, replaces_set
from gtzan_stream.commands.options import (
    Address,
    AsJson,
    Codec,
    GroupBy,
    LabelDepth,
    LabelFile,
    NumWorkers,
    OnError,
    Shards,
    SplitFile,
)
from gtzan_stream.console import print_set, progress_bar, progress_bars
from gtzan_stream.errors import UserError
from gtzan_stream.words import FROM_THE_BEGINNING, count


def demo(
    folder: Shards,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Each seed gives a different set.")] = 0,
    num_workers: NumWorkers = None,
    as_json: AsJson = False,
) -> None:
    """Synthesise a demo set of ten genres and pack it into DIR.

    It needs no download, and has a split `demo`.
    """
    with replaces_set(folder), progress_bars() as progress:
        from gtzan_stream import demo as demo_set
        from gtzan_stream.store.manifest import Manifest
        from gtzan_stream.store.pack import pack as pack_folder
        from gtzan_stream.store.tables import MANIFEST

        if (folder / MANIFEST).exists() and Manifest.open(folder).dataset != "demo":
            raise UserError(
                f"{folder} holds another data set: choose another folder for the demo set, or remove that one"
            )
        with folders.created(folder), folders.scratch(Path(tempfile.gettempdir()), "gtzan-stream-demo-") as temporary:
            music, split = demo_set.write(temporary, seed=seed, progress=partial(progress, "synthesising"))
            manifest = pack_folder(music, folder, splits=split, name="demo", num_workers=num_workers, progress=progress)
    print_set(manifest, as_json=as_json)


def fetch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the archive and the clips.")],
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Another address of the archive: http(s):// or file://.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Download GTZAN into DIR, unpack it, and compare every clip.

    The clips are compared with the checksums of the original. Pack DIR afterwards.
    """
    from gtzan_stream.catalog.fetch import URL, archive_path
    from gtzan_stream.catalog.fetch import fetch as fetch_archive

    archive = archive_path(folder, url or URL)
    with on_interrupt(lambda: _describe_fetched(archive)), progress_bars() as progress:
        report = fetch_archive(folder, url or URL, progress=progress)
    if as_json:
        console.print_json(report.to_dict())
        return
    console.print_line(str(report))
    console.print_line(f"pack it with `gtzan-stream pack {report.folder} shards/`")


def _describe_fetched(archive: Path) -> str:
    """Describe what an interrupted download has left, and what the same command does next."""
    part = archive.with_name(archive.name + ".part")
    if archive.exists():
        return f"{archive} is complete; the same command unpacks it again"
    if part.exists():
        return f"{part.stat().st_size / 1e6:.1f} MB are kept in {part}; the same command continues the download"
    return f"nothing was saved; {FROM_THE_BEGINNING}"


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
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the data set; by default the name of SRC.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pack the music in SRC into shards in DIR, and report issues.

    A set that is in DIR already is replaced once the new one is complete.

    Labels are the folders of the first level below SRC with more than one audio folder, or else each clip's own folder.

    Folders named train, valid (or validation, val, dev) and test are a split, not labels.
    """
    if dry_run:
        _survey(src, folder, label_depth=label_depth, labels=labels, group_by=group_by, splits=splits, as_json=as_json)
        return
    with replaces_set(folder), progress_bars() as progress:
        from gtzan_stream.store.pack import pack as pack_folder

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
    print_set(manifest, as_json=as_json)


def _survey(src: Path, folder: Path, *, splits: Path | None, as_json: bool, **options: Any) -> None:
    """Print what `pack` would do."""
    with on_interrupt(lambda: f"nothing was saved; {FROM_THE_BEGINNING}"), progress_bar("looking for audio"):
        from gtzan_stream.store.pack import refuse_overlap
        from gtzan_stream.store.survey import describe_splits, survey, survey_summary

        refuse_overlap(src, folder)
        found = survey(src, **options)
        lines = [*found.describe(), *describe_splits(found, splits)]
    if as_json:
        console.print_json(survey_summary(found, splits))
        return
    for line in lines:
        console.print_line(line)


def index(folder: Shards, splits: SplitFile = None, num_workers: NumWorkers = None, as_json: AsJson = False) -> None:
    """Write a manifest for shards in DIR that another program packed."""
    with replaces_set(folder), progress_bars() as progress:
        from gtzan_stream.store.index import index as index_folder

        manifest = index_folder(folder, splits=splits, num_workers=num_workers, progress=progress)
    print_set(manifest, as_json=as_json)


def info(
    folder: Address,
    as_json: AsJson = False,
    issues: Annotated[bool, typer.Option("--issues", help="Print all issues of the report, and nothing else.")] = False,
) -> None:
    """Describe the shards in DIR: clips, labels, splits, issues.

    The issues are those that were found when the shards were packed.
    """
    with on_interrupt(lambda: _describe_read(folder)), progress_bar(f"opening {folder}"):
        from gtzan_stream.store.manifest import Manifest
        from gtzan_stream.store.summary import summary

        manifest = Manifest.open(folder)
        metadata = summary(manifest, all_issues=issues)  # downloads the tables of a remote set
    if issues and as_json:
        console.print_json(metadata["report"])
    elif issues:
        console.print_issues(manifest.report)
    else:
        print_set(manifest, as_json=as_json)


def verify(folder: Address, num_workers: NumWorkers = None, as_json: AsJson = False) -> None:
    """Decode every clip in DIR, and name each damaged one.

    Exit with status 1 if there are any.
    """
    problems: list[str] = []
    with on_interrupt(lambda: f"{count(len(problems), 'problem')} until then; {_describe_read(folder)}"):
        with progress_bar(f"opening {folder}"):
            from gtzan_stream.store.manifest import Manifest
            from gtzan_stream.store.summary import summary
            from gtzan_stream.store.verify import find_problems

            manifest = Manifest.open(folder, check_sizes=False)
        with progress_bar("verifying") as progress:
            for problem in find_problems(manifest, num_workers=num_workers, progress=progress):
                problems.append(problem)
                if not as_json:
                    console.print_error(problem)
    if as_json:
        metadata = summary(manifest)
        console.print_json(
            {name: metadata[name] for name in ("root", "dataset", "digest", "clips")} | {"problems": problems}
        )
    elif not problems:
        console.print_line(f"{folder}: {len(manifest)} clips in {len(manifest.shards)} shards are as the manifest says")
    if problems:
        raise typer.Exit(1)


def _describe_read(folder: str) -> str:
    """Describe what remains of reading a set."""
    from gtzan_stream.store.remote import is_remote

    kept = "downloaded files stay in the cache; " if is_remote(folder) else ""
    return f"{kept}{FROM_THE_BEGINNING}"
