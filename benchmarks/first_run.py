"""What ``make train`` ends with: ``python benchmarks/first_run.py --shards shards/`` trains once, with defaults."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.common import Device, Shards, run, save
from gtzan_stream.errors import UserError
from gtzan_stream.training.device import find

ROOT = Path(__file__).parent.parent


def train(shards: Path, device: str, options: list[str]) -> dict[str, Any]:
    """Run train.py with its defaults and return its report, with the seconds that all of it took."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        place = ["--shards", str(shards), "--device", device, "--out", folder, "--name", "run"]
        ended = subprocess.run([sys.executable, str(ROOT / "train.py"), *place, *options], check=False)
        if ended.returncode:
            raise UserError(f"train.py ended with exit status {ended.returncode}; what it said is above")
        report = json.loads(Path(folder, "run", "report.json").read_text())
    return report | {"seconds": time.perf_counter() - began}


def main(
    shards: Shards = Path("shards"),
    device: Device = "auto",
    options: Annotated[list[str] | None, typer.Argument(help="More options of train.py, after --.")] = None,
) -> None:
    """Train once and write benchmarks/results/first-run-*.json."""
    report = train(shards, device, options or [])
    print(f"written to {save('first-run', find(device), {'options': options or []}, [report])}")


if __name__ == "__main__":
    run(main)
