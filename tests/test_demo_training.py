"""`make train`: training on the demo set with the defaults gives a network that recognises its genres."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_the_demo_set_is_learnt(tmp_path):
    program = Path(sys.executable).parent / "gtzan-stream"
    subprocess.run([program, "demo", tmp_path / "shards"], check=True, capture_output=True)
    command = [sys.executable, ROOT / "train.py", "--shards", tmp_path / "shards", "--out", tmp_path, "--name", "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["test"]["track_accuracy"] > 0.7
    assert report["training"]["data_wait_share"] < 0.05
