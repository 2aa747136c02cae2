"""Linux, macOS and Windows: the package works where calls that only Linux has are missing."""

import ast
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from gtzan_stream.audio import encode
from gtzan_stream.augment import recipe
from gtzan_stream.cli import app
from gtzan_stream.loader import Loader
from gtzan_stream.store import open_shards
from gtzan_stream.store.pack import pack
from tests.loader_cases import assert_same, collect
from tests.other_systems import ROOT, run_on
from tests.test_imports import FILES

PROGRAMS = [*(ROOT / "models").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), ROOT / "train.py"]
COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands]
LOAD = """
import torch
from gtzan_stream import Loader
from tests.loader_cases import collect
with Loader(sys.argv[1], batch_size=4, num_workers=2, augment="strong", device="cpu") as loader:
    torch.save(collect(loader), sys.argv[2])
"""
RUN = """
import runpy
def run(program, *arguments):
    sys.argv[:] = [program, *arguments]
    try:
        runpy.run_path(program, run_name="__main__") if program.endswith(".py") else __import__(program).cli.main()
    except SystemExit as end:
        return end.code or 0
    return 0
shards, *others = sys.argv[1:]
"""


def test_there_are_programs_and_commands():
    assert len(PROGRAMS) > 30
    assert {"demo", "pack", "index", "info", "verify", "preview", "classify"} <= set(COMMANDS)


@pytest.mark.parametrize("system", ["macos", "windows"])
def test_a_loader_yields_the_same_batches_on_other_systems(system: str, shards: Path, tmp_path: Path):
    run_on(system, LOAD, shards, tmp_path / "there.pt")
    with Loader(shards, batch_size=4, num_workers=0, augment="strong", device="cpu") as loader:
        assert_same(collect(loader), torch.load(tmp_path / "there.pt"))


@pytest.mark.parametrize("system", ["macos", "windows"])
def test_the_commands_pack_the_same_set_on_other_systems(system: str, clips_folder: Path, tmp_path: Path):
    program = """
import os, shutil
import gtzan_stream.cli
music, foreign = others
for _ in ("new", "in place of the old"):
    assert run("gtzan_stream", "pack", music, shards) == 0
assert run("gtzan_stream", "info", shards) == 0
assert run("gtzan_stream", "verify", shards) == 0
os.makedirs(foreign)
for name in os.listdir(shards):
    if name.endswith(".tar"):
        shutil.copy(os.path.join(shards, name), foreign)
assert run("gtzan_stream", "index", foreign) == 0
"""
    printed = run_on(system, RUN + program, tmp_path / "there", clips_folder, tmp_path / "foreign")
    assert printed.count("11 clips") == 5
    pack(clips_folder, tmp_path / "here")
    assert (tmp_path / "there/manifest.json").read_text() == (tmp_path / "here/manifest.json").read_text()


@pytest.mark.parametrize("system", [pytest.param("macos", marks=pytest.mark.slow), "windows"])
def test_a_network_can_be_trained_on_other_systems(system: str, tiny: Path, tmp_path: Path):
    few = ["--epochs", "1", "--crops-per-clip", "1", "--batch-size", "5", "--schedule", "plateau", "--num-workers", "2"]
    program = f'assert run("train.py", "--shards", shards, "--out", others[0], "--name", "日本", *{few}) == 0'
    assert "Report: " in run_on(system, RUN + program, tiny, tmp_path / "runs", PYTHONIOENCODING="cp1252")
    assert (tmp_path / "runs/日本/model.pt2").is_file()


def test_windows_imports_all_modules_and_shows_all_help_pages(shards: Path):
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES if "triton_" not in path.name]
    program = """
import importlib
modules, commands = (names.split() for names in others)
for name in modules:
    importlib.import_module(name.removesuffix(".__init__"))
assert run("train.py", "--help") == 0
for command in commands:
    assert run("gtzan_stream", command, "--help") == 0
assert run("gtzan_stream", "info", shards) == 0
assert run("gtzan_stream", "verify", shards) == 0
"""
    printed = run_on("windows", RUN + program, shards, " ".join(modules), " ".join(COMMANDS), PYTHONIOENCODING="cp1252")
    assert printed.count("Usage:") == 1 + len(COMMANDS)
    assert printed.count("11 clips") == 2


def test_windows_shows_labels_that_its_encoding_lacks(tmp_path: Path):
    for label in ("日本", "🎵"):
        (tmp_path / "music" / label).mkdir(parents=True)
        for number in range(2):
            noise = np.random.default_rng(number).integers(-9999, 9999, 4000).astype(np.int16)
            (tmp_path / "music" / label / f"{number}.wav").write_bytes(encode(noise, 8000, "wav"))
    pack(tmp_path / "music", tmp_path / "shards", sample_rate=8000)
    program = 'assert run("gtzan_stream", "info", shards) == 0\nprint("then")\n'
    program += 'assert run("gtzan_stream", "info", shards, "--json") == 0'
    printed = run_on(
        "windows", "import gtzan_stream.cli\n" + RUN + program, tmp_path / "shards", PYTHONIOENCODING="cp1252"
    )
    table, _, metadata = printed.partition("then")
    assert r"\u65e5\u672c" in table
    assert set(json.loads(metadata)["labels"]) == {"日本", "🎵"}


def test_windows_transforms_as_linux_does(tmp_path: Path):
    torch.save(0.1 * torch.randn(3, 30_000, generator=torch.Generator().manual_seed(0)), tmp_path / "in.pt")
    program = """
import torch
from gtzan_stream.augment import recipe
waveform = torch.load(sys.argv[1])
keys = [f"clip_{i}" for i in range(len(waveform))]
torch.save([recipe(name)(waveform, keys, seed=1, epoch=2) for name in ("study", "strong")], sys.argv[2])
"""
    run_on("windows", program, tmp_path / "in.pt", tmp_path / "out.pt")
    waveform = torch.load(tmp_path / "in.pt")
    keys = [f"clip_{i}" for i in range(len(waveform))]
    for name, there in zip(("study", "strong"), torch.load(tmp_path / "out.pt"), strict=True):
        assert torch.equal(there, recipe(name)(waveform, keys, seed=1, epoch=2)), name


def test_windows_keeps_open_shards_in_a_full_cache(shards: Path, tmp_path: Path):
    environment = {"GTZAN_STREAM_CACHE": str(tmp_path / "cache"), "GTZAN_STREAM_CACHE_GB": "0.0012"}
    program = """
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
import numpy as np
manifest = Manifest.open(sys.argv[1])
assert len(manifest.shards) > 2
reader = ClipReader(manifest)
for clip in range(len(manifest)):
    reader.read(clip, 0, np.empty(manifest.frames[clip], reader.dtype))
"""
    run_on("windows", program, shards.as_uri(), **environment)


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


def test_a_benchmark_of_memory_needs_linux():
    program = """
from benchmarks.lib.memory import reset_peak, memory_mb
reset_peak()
try:
    memory_mb()
except ValueError as error:
    print(error)
from benchmarks.lib.common import machine
import torch
print(machine(torch.device("cpu"))["cores"])
"""
    for system in ("macos", "windows"):
        printed = run_on(system, program).splitlines()
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


@pytest.mark.parametrize("path", [*FILES, *PROGRAMS], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_text_file_has_an_encoding(path: Path):
    lines = without_encoding(ast.parse(path.read_text()))
    assert not lines, f"{path}, lines {lines}: without encoding=, text is cp1252 on Windows"
