"""Fixtures and helpers that many tests use: clips, shards, runs of train.py, the GPU and optional libraries."""

import importlib
import os
import shutil
import warnings
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from tests.bad_server import Server

collect_ignore_glob = ["*_program.py"]  # these run in subprocesses and import optional libraries

settings.register_profile("untimed", deadline=None)  # a busy machine must not fail a test
settings.load_profile("untimed")

TEST_ALL = os.environ.get("GTZAN_STREAM_TEST_ALL") == "1"
"""True in `make test-all`: slow tests run, and a test fails if its library is missing."""


MANY = 3 if TEST_ALL else 1
"""Factor of the numbers of random cases: three times as many in `make test-all`."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect slow tests, except in `make test-all`."""
    if not TEST_ALL:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def need(module: str) -> Any:
    """Import an optional library. If it is missing, skip the test, or fail it in `make test-all`."""
    return importlib.import_module(module) if TEST_ALL else pytest.importorskip(module)


@pytest.fixture(scope="session")
def gtzan_root() -> Path:
    """Folder of real GTZAN clips, `<genre>/<genre>.NNNNN.wav`, from the environment variable GTZAN_ROOT."""
    root = os.environ.get("GTZAN_ROOT", "")
    if not root or not Path(root).is_dir():
        if os.environ.get("GTZAN_STREAM_REQUIRE_CLIPS") == "1":
            pytest.fail(f"GTZAN_STREAM_REQUIRE_CLIPS=1, but GTZAN_ROOT={root!r} is not a folder")
        pytest.skip("GTZAN_ROOT is not set")
    return Path(root)


@pytest.fixture(scope="session")
def cuda() -> torch.device:
    """The GPU."""
    if not torch.cuda.is_available():
        if os.environ.get("GTZAN_STREAM_REQUIRE_GPU") == "1":
            pytest.fail("GTZAN_STREAM_REQUIRE_GPU=1, but torch sees no GPU")
        pytest.skip("no GPU")
    return torch.device("cuda")


@contextmanager
def no_synchronisation() -> Iterator[None]:
    """Make torch raise where the host would wait for the GPU."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextmanager
def without_numba() -> Iterator[None]:
    """Make numba seem not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gtzan_stream.dsp.backend.is_importable", lambda module: False)
        yield


@pytest.fixture
def float64_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def write_wav(path: Path, waveform: np.ndarray, sample_rate: int = 22050) -> Path:
    """Write mono 16-bit PCM without the project's own code; floats are full scale at +/-1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = waveform if waveform.dtype == np.int16 else np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


@pytest.fixture(scope="session")
def clips_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven clips of three genres, 0.3 to 9 s of coloured noise and tones, as `<genre>/<genre>.NNNNN.wav`."""
    root = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(7)
    seconds = {"blues": [9.0, 4.0, 7.3, 5.0], "jazz": [8.1, 0.3, 6.0], "metal": [5.5, 7.0, 1.2, 6.4]}
    for genre, lengths in seconds.items():
        for i, length in enumerate(lengths):
            time = np.arange(int(length * 22050)) / 22050
            tone = 0.3 * np.sin(2 * np.pi * (220 + 40 * i) * time) * (1 + np.sin(2 * np.pi * 2 * time))
            write_wav(root / genre / f"{genre}.{i:05d}.wav", tone * 0.5 + 0.05 * rng.standard_normal(len(time)))
    return root


@pytest.fixture(scope="session")
def shards(clips_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those clips, packed into several shards, with a split `three` from a file."""
    from gtzan_stream.store.pack import pack

    folder = tmp_path_factory.mktemp("packed")
    split = folder / "three.csv"
    names = sorted(path.stem.replace(".", "_") for path in clips_folder.rglob("*.wav"))
    parts = ["train", "train", "valid", "train", "test"]
    split.write_text("key,part\n" + "".join(f"{name},{parts[i % 5]}\n" for i, name in enumerate(names)))
    pack(clips_folder, folder / "shards", splits=split, shard_mb=1)
    return folder / "shards"


@pytest.fixture
def server(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An HTTP server of those shards that can be made to fail, with an empty cache and short pauses."""
    monkeypatch.setenv("GTZAN_STREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("gtzan_stream.download.attempts.FIRST_PAUSE_S", 0.01)
    with Server(shards) as server:
        yield server


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    """A copy of those shards that a test may damage or pack again."""
    shutil.copytree(shards, tmp_path / "shards")
    return tmp_path / "shards"


@pytest.fixture(scope="session")
def reference(shards: Path) -> dict[tuple[str, int], torch.Tensor]:
    """Features by example of one epoch of a loader, for comparison with other loaders."""
    from gtzan_stream.loader import Loader
    from tests.loader_cases import collect

    return collect(Loader(shards, batch_size=8, num_workers=0, seed=3, crops_per_clip=4))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of forty synthesised clips of twelve seconds, half of them for training."""
    from gtzan_stream import demo
    from gtzan_stream.store.pack import pack

    folder = tmp_path_factory.mktemp("tiny")
    genres, split = demo.write(folder / "music", train=2, valid=1, test=1, clip_s=12.0)
    pack(genres, folder / "shards", splits=split, name="demo")
    return folder / "shards"


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny demo set in `shards/`, where the examples of the documents can run."""
    from gtzan_stream import demo
    from gtzan_stream.store.pack import pack

    folder = tmp_path_factory.mktemp("checkout")
    genres, split = demo.write(folder / "demo", train=1, valid=1, test=1, clip_s=4.0)
    pack(genres, folder / "shards", splits={"demo": split}, name="demo")
    return folder


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards at 8,000 Hz with clips as short as spoken words: labels `high` and `low`, tones of 0.3 to 0.5 s.

    The split `words` has these clips; the split `brief` tests on four clips of 0.07 s.
    """
    from gtzan_stream.store.pack import pack

    folder = tmp_path_factory.mktemp("words")
    rng = np.random.default_rng(1)
    rows: dict[str, list[str]] = {"words": [], "brief": []}
    for number in range(24):
        label, tone_hz = (("high", 1900), ("low", 300))[number % 2]
        time = np.arange(560 if number >= 20 else 2400 + 80 * number) / 8000
        tone = 0.3 * np.sin(2 * np.pi * tone_hz * time) + 0.02 * rng.standard_normal(len(time))
        write_wav(folder / "music" / label / f"{label}.{number:05d}.wav", tone, 8000)
        part = ("train", "train", "valid", "test")[number // 2 % 4]
        rows["words"] += [f"{label}_{number:05d},{part}"] if number < 20 else []
        rows["brief"].append(f"{label}_{number:05d},{'test' if number >= 20 else part.replace('test', 'train')}")
    for split, lines in rows.items():
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")
    pack(
        folder / "music", folder / "shards", splits={split: folder / f"{split}.csv" for split in rows}, sample_rate=8000
    )
    return folder / "shards"


@pytest.fixture(scope="session")
def go(tiny: Path, tmp_path_factory: pytest.TempPathFactory):
    """Return a function that runs train.py on the smallest possible task, and returns its exit code and output."""
    from typer.testing import CliRunner

    import train

    out = tmp_path_factory.mktemp("runs")

    def run(*arguments: str, defaults: bool = True):
        smallest = [
            "--shards",
            str(tiny),
            "--out",
            str(out),
            "--epochs",
            "2",
            "--crops-per-clip",
            "1",
            "--batch-size",
            "5",
        ]
        smallest += [] if "--schedule" in arguments else ["--schedule", "plateau"]
        smallest += [] if "--device" in arguments else ["--device", "cpu"]  # also on a machine with a GPU
        return CliRunner().invoke(train.app, [*(smallest if defaults else []), *arguments])

    run.out = out
    return run


@pytest.fixture
def no_export() -> Iterator[None]:
    """Let runs end without model.pt2, which takes longer than their training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gtzan_stream.inference.export.write", lambda *_, **__: None)
        yield


@pytest.fixture(scope="session")
def unbroken(go) -> Path:
    """The folder of a run that was never interrupted."""
    from tests.train_cases import SMALL

    result = go("--name", "unbroken", *SMALL)
    assert result.exit_code == 0, result.output
    return go.out / "unbroken"
