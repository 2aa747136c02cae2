"""Train once with train.py's defaults, as ``make train`` does: ``python benchmarks/first_run.py --shards shards/``."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib.common import ROOT, Device, Shards, run, save
from gtzan_stream.errors import UserError
from gtzan_stream.training.device import find


def train(shards: Path, device_name: str, options: list[str]) -> dict[str, Any]:
    """Run train.py and return its report, with the duration of the whole program in seconds."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        settings = ["--shards", str(shards), "--device", device_name, "--out", folder, "--name", "run"]
        ended = subprocess.run([sys.executable, str(ROOT / "train.py"), *settings, *options], check=False)
        if ended.returncode:
            raise UserError(f"train.py ended with exit status {ended.returncode}; its output is above")
        report = json.loads(Path(folder, "run", "report.json").read_text(encoding="utf-8"))
    return report | {"seconds": time.perf_counter() - began}


def main(
    shards: Shards = Path("shards"),
    device_name: Device = "auto",
    options: Annotated[list[str] | None, typer.Argument(help="More options of train.py, after --.")] = None,
) -> None:
    """Train once and write benchmarks/results/first-run-*.json."""
    report = train(shards, device_name, options or [])
    print(f"written to {save('first-run', find(device_name), {'options': options or []}, [report])}")


if __name__ == "__main__":
    run(main)
