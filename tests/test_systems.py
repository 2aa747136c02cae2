"""Linux, macOS and Windows: the package works where calls that only Linux has are missing."""

import ast
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from gtzan_stream.augment import recipe
from gtzan_stream.cli import app
from gtzan_stream.loader import Loader
from gtzan_stream.store import open_shards
from gtzan_stream.store.pack import pack
from tests.conftest import TEST_ALL, write_wav
from tests.loader_cases import assert_same, collect
from tests.other_systems import ROOT, run_on
from tests.test_imports import FILES
from tests.train_cases import SMALL

RUN_FROM_CHECKOUT = [*(ROOT / "models").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), ROOT / "train.py"]
COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]
PROGRAMS = {
    "modules and help pages": """
import importlib
for name in modules:
    importlib.import_module(name)
assert run("train.py", "--help") == 0
for command in commands:
    assert run("gtzan_stream", command, "--help") == 0
assert run("gtzan_stream", "info", shards) == 0
assert run("gtzan_stream", "verify", shards) == 0
""",
    "loader": """
import torch
from gtzan_stream import Loader
from tests.conftest import TEST_ALL, write_wav
from tests.loader_cases import collect
with Loader(shards, batch_size=4, num_workers=2, augment="strong", device="cpu") as loader:
    torch.save(collect(loader), "loader.pt")
""",
    "commands": """
import gtzan_stream.cli, os, shutil
for _ in ("new", "in place of the old"):
    assert run("gtzan_stream", "pack", clips, "packed") == 0
assert run("gtzan_stream", "info", "packed") == 0
assert run("gtzan_stream", "verify", "packed") == 0
os.makedirs("foreign")
for name in os.listdir("packed"):
    if name.endswith(".tar"):
        shutil.copy(os.path.join("packed", name), "foreign")
assert run("gtzan_stream", "index", "foreign") == 0
""",
    "training": """
assert run("train.py", "--shards", tiny, "--out", "runs", "--name", "日本", *few) == 0
""",
    "labels": """
import gtzan_stream.cli
assert run("gtzan_stream", "info", "labels") == 0
print("then")
assert run("gtzan_stream", "info", "labels", "--json") == 0
""",
    "transforms": """
import torch
from gtzan_stream.augment import recipe
waveform = torch.load("in.pt")
keys = [f"clip_{i}" for i in range(len(waveform))]
torch.save([recipe(name)(waveform, keys, seed=1, epoch=2) for name in ("study", "strong")], "out.pt")
""",
    "cache": """
import os, pathlib
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
import numpy as np
os.environ |= {"GTZAN_STREAM_CACHE": os.path.abspath("cache"), "GTZAN_STREAM_CACHE_GB": "0.0012"}
manifest = Manifest.open(pathlib.Path(shards).as_uri())
assert len(manifest.shards) > 2
reader = ClipReader(manifest)
for clip in range(len(manifest)):
    reader.read(clip, 0, np.empty(manifest.frames[clip], reader.dtype))
print(len(manifest))
""",
    "memory": """
from benchmarks.lib.memory import reset_peak, memory_mb
reset_peak()
try:
    memory_mb()
except ValueError as error:
    print(error)
from benchmarks.lib.common import machine
import torch
print(machine(torch.device("cpu"))["cores"])
""",
}
NAMES = {"macos": ["loader", "commands", "memory", *(["training"] if TEST_ALL else [])], "windows": list(PROGRAMS)}
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in FILES
    if "triton_" not in path.name and path.name != "on_ray.py"  # they need Triton and Ray
]


def test_there_are_programs_and_commands():
    assert len(RUN_FROM_CHECKOUT) > 30
    assert {"demo", "pack", "index", "info", "verify", "preview", "classify"} <= set(COMMANDS)


@pytest.fixture(scope="module")
def results(shards: Path, tiny: Path, clips_folder: Path, tmp_path_factory) -> dict[str, tuple[dict[str, str], Path]]:
    """What `PROGRAMS` print, and the folder in which they run, by system."""
    found = {}
    for system, names in NAMES.items():
        folder = tmp_path_factory.mktemp(system)
        for label in ("日本", "🎵"):
            for number in range(2):
                noise = np.random.default_rng(number).integers(-9999, 9999, 4000).astype(np.int16)
                write_wav(folder / "music" / label / f"{number}.wav", noise, 8000)
        pack(folder / "music", folder / "labels", sample_rate=8000)
        torch.save(0.1 * torch.randn(3, 30_000, generator=torch.Generator().manual_seed(0)), folder / "in.pt")
        values = {"shards": shards, "tiny": tiny, "clips": clips_folder, "modules": MODULES, "commands": COMMANDS}
        few = [*SMALL, "--steps", "1", "--crops-per-clip", "1", "--batch-size", "5", "--schedule", "plateau"]
        found[system] = run_on(system, {name: PROGRAMS[name] for name in names}, folder, few=few, **values), folder
    return found


@pytest.mark.parametrize("system", NAMES)
def test_a_loader_yields_the_same_batches_on_other_systems(system: str, results, shards: Path):
    with Loader(shards, batch_size=4, num_workers=0, augment="strong", device="cpu") as loader:
        assert_same(collect(loader), torch.load(results[system][1] / "loader.pt"))


@pytest.mark.parametrize("system", NAMES)
def test_the_commands_pack_the_same_set_on_other_systems(system: str, results, clips_folder: Path, tmp_path: Path):
    printed, folder = results[system]
    assert printed["commands"].count("11 clips") == 5
    pack(clips_folder, tmp_path / "here")
    assert (folder / "packed/manifest.json").read_text() == (tmp_path / "here/manifest.json").read_text()


@pytest.mark.parametrize("system", [pytest.param("macos", marks=pytest.mark.slow), "windows"])
def test_a_network_can_be_trained_on_other_systems(system: str, results):
    printed, folder = results[system]
    assert "Report: " in printed["training"]
    assert (folder / "runs/日本/model.pt2").is_file()


def test_windows_imports_all_modules_and_shows_all_help_pages(results):
    printed = results["windows"][0]["modules and help pages"]
    assert printed.count("Usage:") == 1 + len(COMMANDS)
    assert printed.count("11 clips") == 2


def test_windows_shows_labels_that_its_encoding_lacks(results):
    table, _, metadata = results["windows"][0]["labels"].partition("then")
    assert r"\u65e5\u672c" in table
    assert set(json.loads(metadata)["labels"]) == {"日本", "🎵"}


def test_windows_transforms_as_linux_does(results):
    folder = results["windows"][1]
    waveform = torch.load(folder / "in.pt")
    keys = [f"clip_{i}" for i in range(len(waveform))]
    for name, there in zip(("study", "strong"), torch.load(folder / "out.pt"), strict=True):
        assert torch.equal(there, recipe(name)(waveform, keys, seed=1, epoch=2)), name


def test_windows_keeps_open_shards_in_a_full_cache(results):
    assert results["windows"][0]["cache"] == "11\n"


@pytest.mark.parametrize("missing", [["preadv"], ["preadv", "pread"]])
def test_threads_do_not_share_a_read_position(missing: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in missing:
        monkeypatch.delattr(os, name)
    path = tmp_path / "shard.tar"
    path.write_bytes(np.arange(1 << 18, dtype="<u4").tobytes())
    shard = open_shards.OpenShard(path)
    wrong: list[int] = []

    def work(seed: int) -> None:
        for first in np.random.default_rng(seed).integers(0, (1 << 18) - 4096, 400):
            found = np.frombuffer(shard.read(4 * int(first), 4 * 4096), "<u4")
            wrong.extend(found[found != np.arange(first, first + 4096)])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    with pytest.raises(ValueError, match=f"it ends at byte {1 << 20}, not after {(1 << 20) + 8}"):
        shard.read((1 << 20) - 8, 16)


def test_a_forked_process_does_not_move_the_position_on_macos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "preadv")
    (tmp_path / "shard.tar").write_bytes(bytes(range(256)))
    shard = open_shards.OpenShard(tmp_path / "shard.tar")
    assert shard.read(16, 4) == bytes([16, 17, 18, 19])
    assert os.lseek(shard._file.fileno(), 0, os.SEEK_CUR) == 0  # a parent and its child share the position


@pytest.mark.parametrize("system", NAMES)
def test_a_benchmark_of_memory_needs_linux(system: str, results):
    printed = results[system][0]["memory"].splitlines()
    assert printed[0] == "memory is read from /proc/self/status, which this system does not have: measure on Linux"
    assert printed[1] == str(os.cpu_count())


def without_encoding(tree: ast.AST) -> list[int]:
    """Return the line numbers of calls that read or write text in the system's default encoding."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or {"encoding", "fileobj"} & {keyword.arg for keyword in node.keywords}:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        is_method = isinstance(node.func, ast.Attribute)
        modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        text_mode = any(set(mode) <= set("rwaxt+") for mode in modes) if modes else is_method and not node.args
        if (
            (name in {"read_text", "write_text"} and is_method)
            or (name in {"open", "fdopen"} and (text_mode or (not is_method and len(node.args) == 1)))
            or any(keyword.arg in {"text", "universal_newlines"} for keyword in node.keywords)
        ):
            lines.append(node.lineno)
    return lines


def test_calls_without_an_encoding_are_found():
    text = [
        "p.open()",
        "p.open('w')",
        "open(p)",
        "open(p, 'r')",
        "p.read_text()",
        "p.write_text(t)",
        "run([], text=True)",
    ]
    other = ["p.open('rb')", "open(p, 'wb')", "Manifest.open(p)", "p.open(encoding='utf-8')", "write_text(p, t)"]
    assert all(without_encoding(ast.parse(line)) == [1] for line in text)
    assert not any(without_encoding(ast.parse(line)) for line in other)


EXAMPLES = [*(ROOT / "examples").glob("*.py")]


@pytest.mark.parametrize("path", [*FILES, *RUN_FROM_CHECKOUT, *EXAMPLES], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_text_file_has_an_encoding(path: Path):
    lines = without_encoding(ast.parse(path.read_text()))
    assert not lines, f"{path}, lines {lines}: without encoding=, text is cp1252 on Windows"
