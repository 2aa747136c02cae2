"""Small examples of all work that writes files, for `interrupted.py`: how to prepare a state, and the work itself."""

import functools
import os
import sys
import tarfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from gtzan_stream import cli, demo
from gtzan_stream.catalog.fetch import fetch
from gtzan_stream.demo import dataset
from gtzan_stream.download import attempts
from gtzan_stream.errors import BadSample, UserError, format_error
from gtzan_stream.inference import export
from gtzan_stream.inference.png import write_png
from gtzan_stream.store import remote
from gtzan_stream.store.index import index
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.verify import verify
from gtzan_stream.training import checkpoints, report


@dataclass(frozen=True)
class Work:
    """A piece of work in a folder `root`.

    Attributes
    ----------
    before : callable (root)
        Create the state before the work.
    work : callable (root)
        Do the work.
    state_of : callable (root), optional
        Print the digest of the state on the disk, which is whole even if some files are neither old nor new.
    each_file : bool
        Whether each file by itself is old or new, instead of all of them together.
    kept : tuple of str
        Files that may remain after an error: the next call continues from them.
    first : str
        A file that may be new while the others are still old, if the process was killed.
    of_unknown_size : str
        Suffix of the files for which the message of a full disk cannot say how much room they need.
    faults : tuple of str
        The faults that tests try. Slow tests try all, except power cuts if the work is not `durable`.
    durable : bool
        Whether even a power cut leaves a whole state.
    """

    before: Callable[[Path], object]
    work: Callable[[Path], object]
    state_of: Callable[[Path], object] | None = None
    each_file: bool = False
    kept: tuple[str, ...] = ()
    first: str = ""
    of_unknown_size: str = "\0"
    faults: tuple[str, ...] = ("full", "read-only", "broken", "killed", "power cut")
    durable: bool = True


def program(function: Callable[[Path], object]) -> Callable[[Path], None]:
    """Wrap a function so that it reports its errors like the programs do."""

    def work(root: Path) -> None:
        try:
            function(root)
        except (UserError, BadSample, OSError) as error:
            print(f"gtzan-stream: {format_error(error)}", file=sys.stderr)
            sys.exit(2)

    return work


def music(root: Path) -> None:
    """Write four clips of a third of a second."""
    rng = np.random.default_rng(0)
    for name in ("rock/a", "rock/b", "jazz/a", "jazz/b"):
        path = root / "music" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 22050, 0, "NONE", ""))
            file.writeframes(rng.integers(-9000, 9000, 6600).astype("<i2").tobytes())


def old_set(root: Path) -> None:
    """Pack a set of several shards, in a folder that also holds a file of the user."""
    music(root)
    pack(root / "music", root / "shards", shard_mb=0.02, name="old")
    (root / "shards/notes.txt").write_text("mine")


def digest_of_set(root: Path, folder: str = "shards") -> None:
    manifests = (root / folder / "manifest.json", root / folder / ".incoming/manifest.json")
    if not any(path.exists() for path in manifests):
        print("none")
        return
    manifest = Manifest.open(root / folder)
    assert verify(manifest) == []
    print(manifest.digest)


def digest_of_new(root: Path) -> None:
    digest_of_set(root, "new/shards")


def partly_indexed(root: Path) -> None:
    """Make shards without a manifest from elsewhere, then index all but one."""
    old_set(root)
    for name in ("manifest.json", "samples.parquet", "splits.parquet"):
        (root / "shards" / name).unlink()
    last = max((root / "shards").glob("*.tar"))
    last.rename(root / "last")
    index(root / "shards")
    (root / "last").rename(last)


def demo_set(root: Path) -> None:
    """Run `gtzan-stream demo` with two clips of a tenth of a second."""
    dataset.GENRES = ("blues", "rock")
    demo.write = functools.partial(dataset.write, train=1, valid=0, test=0, clip_s=0.1)
    sys.argv = ["gtzan-stream", "demo", str(root / "shards"), "--num-workers", "1"]
    cli.main()


def demo_music(root: Path) -> None:
    dataset.GENRES = ("blues", "rock")
    dataset.write(root / "music", train=1, valid=0, test=0, clip_s=0.1)


def archive(root: Path) -> None:
    """Write an archive of four clips to download."""
    music(root)
    with tarfile.open(root / "genres.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(root / "music", "genres")


def archive_and_clips(root: Path) -> None:
    """Write the archive, and another version of one of its clips."""
    archive(root)
    (root / "gtzan/genres/rock").mkdir(parents=True)
    (root / "gtzan/genres/rock/a.wav").write_bytes(b"other bytes")


class _Network(torch.nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.full((3, 4), float(seed)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features @ self.weights


_TRACED: list[torch.export.ExportedProgram] = []


def trace() -> None:
    """Trace a program once for all tests, because it takes seconds."""
    _TRACED.append(torch.export.export(_Network(1), (torch.zeros(2, 3),)))


def write_model(path: Path) -> None:
    """Run `export.write` with the traced program."""
    from gtzan_stream.features import RawWaveform

    torch.export.export = lambda *args, **kwargs: _TRACED[0]  # type: ignore[assignment]
    export.write(path, _Network(1), RawWaveform(), labels=["a", "b"], config={"model": "tiny"})


def save_run(root: Path, seed: int = 1) -> None:
    """Write what a run writes at the end of an epoch and at its own end."""
    run = root / "runs/name"
    parts: dict[str, checkpoints.Stateful] = {"network": _Network(seed)}
    rates = {"train_loss": 1.0, "valid_loss": 1.0, "train_accuracy": 0.5, "valid_chunk_accuracy": 0.5}
    history = [{"epoch": 1, "valid_track_accuracy": 0.5, "seed": seed, **rates}]
    checkpoints.save(run / checkpoints.BEST, parts, labels=["a", "b"])
    report.write_history(run / "metrics.jsonl", history)
    checkpoints.save(run / checkpoints.LAST, parts, labels=["a", "b"])
    report.write_json(run / "report.json", {"seed": seed})
    write_picture(root, seed)


def write_picture(root: Path, seed: int = 1) -> None:
    figure = Figure(figsize=(0.3, 0.3))
    figure.add_axes((0, 0, 1, 1)).plot([0, seed])
    write_png(root / "runs/name/picture.png", figure)


def fetch_archive(root: Path) -> None:
    fetch(root / "gtzan", (root / "genres.tar.gz").as_uri())


def remote_set(root: Path) -> None:
    """Make a remote set, and a cache that holds one of its shards and has no room for two."""
    old_set(root)
    download_shard(root, 0)


def download_shard(root: Path, number: int = 1) -> None:
    """Download a shard into the cache."""
    os.environ["GTZAN_STREAM_CACHE"] = str(root / "cache")
    attempts.FIRST_PAUSE_S, attempts.log.disabled = 0.001, True
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in (root / "shards").iterdir():
        memory.pipe_file(f"/shards/{path.name}", path.read_bytes())
    folder = remote.RemoteFolder("memory://shards", limit_bytes=30_000)
    folder.manifest_path()
    manifest = Manifest.open("memory://shards")
    folder.register_files([vars(shard) for shard in manifest.shards])
    data = folder.path(manifest.shards[number].name).read_bytes()
    assert len(data) == manifest.shards[number].size


def pack_into(name: str, **options: object) -> Callable[[Path], None]:
    return program(lambda root: pack(root / "music", root / name, num_workers=1, **options))  # type: ignore[arg-type]


KEPT = ("gtzan/genres.tar.gz.part", "gtzan/genres.tar.gz")
WORK = {
    "pack": Work(music, pack_into("new/shards"), digest_of_new, faults=("full", "killed")),
    "pack again": Work(old_set, pack_into("shards", codec="flac"), digest_of_set),
    "index": Work(
        partly_indexed,
        program(lambda root: index(root / "shards", num_workers=1)),
        digest_of_set,
        faults=("full", "killed"),  # it replaces a set as `pack again` does
    ),
    "demo": Work(lambda root: None, demo_set, digest_of_set, faults=("full",)),  # it packs as `pack` does
    "demo music": Work(
        lambda root: None,
        program(demo_music),
        first="music/demo.csv",
        faults=("full", "broken", "killed"),
        durable=False,
    ),
    "fetch": Work(
        archive, program(fetch_archive), kept=KEPT, faults=("full", "read-only", "broken", "killed"), durable=False
    ),
    "fetch again": Work(
        archive_and_clips, program(fetch_archive), kept=KEPT, each_file=True, faults=("killed",), durable=False
    ),
    "run": Work(lambda root: None, program(save_run), each_file=True, faults=("full",)),
    "run again": Work(
        lambda root: save_run(root, 2),
        program(save_run),
        each_file=True,
        faults=("full", "broken", "killed", "power cut"),
    ),
    "model": Work(lambda root: None, program(lambda root: write_model(root / "model.pt2")), faults=("full", "killed")),
    "cache": Work(remote_set, program(download_shard), each_file=True, of_unknown_size="manifest.json"),
}
