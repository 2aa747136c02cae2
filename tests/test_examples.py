"""Each program in examples/ runs by the command in its docstring, and what it prints is right."""

import math
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import gtzan_stream
from gtzan_stream import Loader, Manifest, augment, service
from tests.conftest import need
from tests.house import ROOT, imported_modules

FOLDER = ROOT / "examples"
STEMS = sorted(path.stem for path in FOLDER.glob("*.py"))
ALONE = ["accelerate_loop", "lightning_trainer", "ray_train", "torchrun_ddp"]
"""Examples whose own tests run them in a process of their own; the others run in that of the tests, too."""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
PARTS = ("train", "valid", "test")
Run = Callable[[str], str]


def commands(stem: str) -> list[str]:
    """Return the commands in the docstring of an example."""
    found = re.findall(rf"^((?:python|torchrun) .*examples/{stem}\.py.*)$", (FOLDER / f"{stem}.py").read_text(), re.M)
    assert found, f"{stem}.py does not say how to run it"
    return found


@pytest.fixture
def folder(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which looks like a checkout with a packed demo set."""
    (tmp_path / "shards").symlink_to(tiny)
    (tmp_path / "examples").symlink_to(FOLDER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs an example in this process, which saves the imports, and returns what it printed."""

    def run_here(stem: str) -> str:
        (command,) = commands(stem)
        monkeypatch.setattr(sys, "argv", shlex.split(command)[1:])
        runpy.run_path(sys.argv[0], run_name="__main__")
        return capsys.readouterr().out

    return run_here


def run_alone(command: str) -> str:
    """Run a command in a process of its own, and return what it printed."""
    program, *arguments = shlex.split(command)
    start = TORCHRUN if program == "torchrun" else [sys.executable]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*start, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    """Return all numbers in the place of # in `pattern`; there must be some."""
    found = [float(number) for number in re.findall(pattern.replace("#", r"([-+]?[\d.]+\d)"), text)]
    assert found, f"no {pattern!r} in: {text}"
    return found


def assert_falls(losses: list[float]) -> None:
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 3
    assert losses[-1] < losses[0] - 0.02


def test_every_example_has_a_test_and_a_row_in_the_table() -> None:
    assert len(STEMS) >= 13
    tests = "".join((ROOT / "tests" / name).read_text() for name in ("test_examples.py", "test_served_examples.py"))
    assert [stem for stem in STEMS if f"def test_{stem}(" not in tests] == []
    rows = re.findall(r"^\| \[([\w.]+)\]\(([\w.]+)\) \| .{20,} \|$", (FOLDER / "README.md").read_text(), re.M)
    names = [path.name for path in FOLDER.iterdir() if path.suffix in (".py", ".ipynb")]
    assert sorted(rows) == sorted((name, name) for name in names)


@pytest.mark.parametrize("stem", STEMS)
def test_an_example_is_short_and_does_not_hide_a_library(stem: str) -> None:
    """Python looks for modules in the folder of the program first: a file called `pytorch.py` breaks torchvision."""
    assert find_spec(stem) is None
    assert "_" in stem
    assert len((FOLDER / f"{stem}.py").read_text().splitlines()) <= 70


@pytest.mark.parametrize("stem", STEMS)
def test_an_example_imports_public_names_only(stem: str) -> None:
    names = [name for name in imported_modules(FOLDER / f"{stem}.py") if name.split(".")[0] == "gtzan_stream"]
    public = {f"gtzan_stream.{name}" for name in gtzan_stream.__all__}
    public |= {f"gtzan_stream.augment.{name}" for name in augment.__all__}
    public |= {f"gtzan_stream.service.{name}" for name in service.__all__}
    assert names
    assert set(names) <= public


@pytest.mark.slow
@pytest.mark.parametrize("stem", [stem for stem in STEMS if stem not in ALONE])
def test_the_command_of_an_example_runs(stem: str, folder: Path) -> None:
    assert run_alone(commands(stem)[0])


def test_plain_pytorch(run: Run) -> None:
    out = run("plain_pytorch")
    assert_falls(numbers(r"epoch \d: loss #", out))
    assert "of 40 chunks are correct" in out
    source = (FOLDER / "plain_pytorch.py").read_text()
    assert len(source[source.index("with loader") :].splitlines()) == 20


@pytest.mark.slow
def test_lightning_trainer(folder: Path) -> None:
    need("lightning")
    out = run_alone(commands("lightning_trainer")[0])
    assert_falls(numbers(r"epoch \d: valid loss #", out))


@pytest.mark.slow
def test_accelerate_loop(folder: Path) -> None:
    need("accelerate")
    first, second = map(run_alone, commands("accelerate_loop"))
    losses = numbers(r"epoch \d: loss #", first)
    assert_falls(losses)
    assert re.findall(r"epoch (\d)", second) == ["3", "4"]
    assert max(numbers(r"epoch \d: loss #", second)) < losses[-1]


@pytest.mark.slow
def test_torchrun_ddp(folder: Path) -> None:
    (command,) = commands("torchrun_ddp")
    assert "--nproc-per-node 2" in command
    two = numbers(r"epoch \d: loss #", run_alone(command))
    one = numbers(r"epoch \d: loss #", run_alone(command.replace("per-node 2", "per-node 1")))
    assert_falls(two)
    assert two == pytest.approx(one, abs=2e-4)


def test_transforms_on_own_batch(run: Run) -> None:
    out = run("transforms_on_own_batch")
    expected, measured = numbers("expected # Hz", out), numbers("measured # Hz", out)
    assert measured == pytest.approx(expected, abs=0.2)
    assert len({round(hz) for hz in measured}) == 4
    assert len(set(re.findall(r"call \d: 440 Hz becomes (.*)", out))) == 2
    assert out.count("True") == 2
    assert "stereo [4, 2, 66150]" in out


def test_log_mel(run: Run) -> None:
    out = run("log_mel")
    loud, medium, soft = numbers("# dB", out)
    assert loud - medium == pytest.approx(20, abs=0.11)  # both are rounded
    assert medium - soft == pytest.approx(20, abs=0.11)
    assert "[3, 66048] samples make features [3, 64, 128]" in out
    assert f"frames of the whole clip: {1 + 66048 // 512}" in out
    assert "gradients are finite: True" in out


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset's own files
def test_webdataset_pipeline(run: Run) -> None:
    out = run("webdataset_pipeline")
    assert out.count("features [8, 128, 128]") == 5
    pairs = re.findall(r"; ([a-z]+)_\d+ is ([a-z]+): \w+", out)
    assert len(pairs) == 5
    assert all(genre == label for genre, label in pairs)


def test_audiomentations_reused(run: Run) -> None:
    need("audiomentations")
    out = run("audiomentations_reused")
    assert "the same epoch gives the same batch: True" in out
    assert len(numbers("features change by #", out)) == 8
    assert min(numbers("features change by #", out)) > 0
    assert 0 < out.count("> Audiomentations") <= 8


def test_own_transform(run: Run) -> None:
    out = run("own_transform")
    echoes = re.findall(r"delay=(\d+), .*clicks at samples \[1000, (\d+)\]", out)
    assert len(echoes) == 3
    assert all(int(second) == 1000 + int(delay) for delay, second in echoes)
    changes = re.findall(r"change by up to ([\d.]+): (\w+)", out)
    assert {what for _, what in changes} == {"Echo", "unchanged"}
    assert all((float(change) > 0.001) == (what == "Echo") for change, what in changes)


def test_the_echo_of_a_crop_is_that_of_its_clip(tiny: Path) -> None:
    echo = runpy.run_path(str(FOLDER / "own_transform.py"))["Echo"]()
    with Loader(tiny, split="demo", part="train", batch_size=8, augment=echo) as loader:
        batch = next(iter(loader))
        wet, dry = loader.waveforms(batch), loader.waveforms(batch, augmented=False)
    for row, (delay, level) in enumerate(zip(*batch.draw.values.values(), strict=True)):
        expected = dry[row, int(delay) :] + level * dry[row, : -int(delay)]
        torch.testing.assert_close(wet[row, int(delay) :], expected.float())
    whole_batch = echo.apply(dry, batch.draw)
    for row, delay in enumerate(batch.draw.values["delay"].astype(int)):
        assert torch.equal(whole_batch[row, :delay], dry[row, :delay]), "nothing comes before a whole clip"
        torch.testing.assert_close(whole_batch[row, delay:], wet[row, delay:])
    assert all(torch.equal(echo.apply(dry[i : i + 1], batch.draw[i : i + 1])[0], whole_batch[i]) for i in range(8))


@pytest.mark.slow
def test_train_takes_the_echo(go, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--augment own_transform:Echo" in (FOLDER / "own_transform.py").read_text()
    monkeypatch.syspath_prepend(FOLDER)
    result = go("--augment", "own_transform:Echo")
    assert result.exit_code == 0, result.output
    assert "augmentation own_transform:Echo" in result.output


def test_own_feature(run: Run) -> None:
    out = run("own_feature")
    assert re.findall(r"(\d) semitones up, is (\S+)", out) == [("0", "A"), ("3", "C"), ("7", "E")]
    assert "features [8, 12, 32]" in out
    assert out.count("mostly") == 8


def test_own_network(run: Run) -> None:
    out = run("own_network")
    assert_falls(numbers(r"epoch \d: loss #", out))
    assert re.search(r"test: \d+ of 10 tracks are correct", out)


def test_labels_from_csv(run: Run) -> None:
    out = run("labels_from_csv")
    assert "40 clips, labels ['high', 'low']" in out
    parts = re.search(r"'train': (\d+), 'valid': (\d+), 'test': (\d+)", out)
    assert parts
    assert sum(map(int, parts.groups())) == 40
    assert all(map(int, parts.groups()))
    manifest = Manifest.open("csv-demo/shards")
    keys = [{int(manifest.keys[clip].as_py()) for clip in manifest.part("stratified", part)} for part in PARTS]
    assert all(number ^ 1 in part for part in keys for number in part), "an artist has clips 2 n and 2 n + 1"
    rows = re.findall(r"(\d+) is (\w+): loudest in mel band (\d+)", out)
    assert len(rows) == 16
    assert {label for _, label, _ in rows} == {"high", "low"}
    for key, label, band in rows:
        assert label == ("high" if int(key) // 2 % 2 else "low")
        assert (int(band) > 40) == (label == "high")


def test_two_views(run: Run) -> None:
    out = run("two_views")
    first, last = numbers(r"epoch \d: loss #", out)
    assert last < first - 0.2
    assert last < math.log(16), "worse than a guess"
