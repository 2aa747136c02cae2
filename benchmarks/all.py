"""Run every benchmark of speed and scale, then render the report: ``python benchmarks/all.py --shards shards/``.

``--device cuda`` measures the GPU. Each benchmark has its own process; if one fails, the others still run.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib.common import Device, Shards, run
from gtzan_stream.errors import UserError
from gtzan_stream.training.device import find

PROGRAMS = {
    "augment": ["augment.py"],
    "pitch-cost": ["pitch_cost.py"],
    "sound": ["sound.py"],
    "detect": ["detect.py"],
    "features": ["features.py"],
    "throughput": ["throughput.py"],
    "sweep": ["throughput.py", "--sweep"],
    "baseline": ["baseline.py"],
    "scaling": ["scaling.py"],
    "scale": ["scale.py"],
    "floor": ["floor.py"],
    "soak": ["soak.py"],
    "service": ["service.py"],
}
ON_GPU_ONLY, ON_CPU_ONLY = {"floor"}, {"scaling", "sound", "detect", "service"}
HERE = Path(__file__).parent


def commands(shards: Path, device: str, only: list[str], *, cuda: bool) -> dict[str, list[str]]:
    """Return the command line of each benchmark.

    Raises
    ------
    UserError
        If `only` names a benchmark that does not exist.
    """
    unknown = sorted(set(only) - set(PROGRAMS))
    if unknown:
        raise UserError(f"there is no benchmark {unknown[0]!r}; there are {', '.join(PROGRAMS)}")
    return {
        name: [sys.executable, str(HERE / program), *options, "--shards", str(shards), "--device", device]
        for name, (program, *options) in PROGRAMS.items()
        if (not only or name in only) and name not in (ON_CPU_ONLY if cuda else ON_GPU_ONLY)
    }


def main(
    shards: Shards = Path("shards"),
    device_name: Device = "auto",
    only: Annotated[str, typer.Option(help=f"Some of {', '.join(PROGRAMS)}; all by default.")] = "",
) -> None:
    """Run the benchmarks, then render report.md and the README's figures. Exits with 1 if one failed."""
    names = [name for name in only.split(",") if name]
    failed = []
    for name, command in commands(shards, device_name, names, cuda=find(device_name).type == "cuda").items():
        print(f"\n# {name}", flush=True)
        began = time.perf_counter()
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    subprocess.run([sys.executable, str(HERE / "render.py")], check=True)
    if failed:
        raise UserError(f"these failed, see above: {', '.join(failed)}")


if __name__ == "__main__":
    run(main)
