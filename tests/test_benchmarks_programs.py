"""The benchmarks as programs: their options, and starting them from any folder."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks import all as all_benchmarks
from benchmarks.lib import common
from gtzan_stream.errors import UserError

PROGRAMS = sorted(path for path in (common.ROOT / "benchmarks").glob("*.py") if path.name != "__init__.py")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_explains_its_options(path: Path):
    app = typer.Typer()
    app.command()(importlib.import_module(f"benchmarks.{path.stem}").main)
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    text = path.read_text()
    assert 0 < text.find("\nsys.path.insert(0, str(Path(__file__).parent.parent))") < text.find("\nfrom benchmarks")


def test_a_program_starts_in_any_folder(tmp_path: Path):
    command = [sys.executable, str(common.ROOT / "benchmarks" / "first_run.py"), "--help"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: first_run.py" in done.stdout


def test_all_runs_every_program():
    on_gpu = all_benchmarks.commands(Path("shards"), "cuda", [], cuda=True)
    assert list(on_gpu) == [name for name in all_benchmarks.PROGRAMS if name not in all_benchmarks.ON_CPU_ONLY]
    assert all(Path(command[1]).exists() and command[-1] == "cuda" for command in on_gpu.values())
    assert "floor" not in all_benchmarks.commands(Path("shards"), "cpu", [], cuda=False)
    with pytest.raises(UserError, match="no benchmark 'augmnt'; there are augment, pitch-cost"):
        all_benchmarks.commands(Path("shards"), "cpu", ["augmnt"], cuda=False)
