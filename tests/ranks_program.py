"""Run train.py's command on a small network, as one rank of several, and record its steps: ranks_program.py JOBS.

JOBS is a JSON list; the jobs run one after the other, until one ends the process. A job has `out`, `name` and
`arguments` (of train.py), and optionally `goes_on` (whether a job follows), `without_model` (an empty model.pt2, as
tracing takes longer than the training) and `act`: on its `rank`, or on all, after its `step`, do one of `ACTS`. Each
rank writes `out`/NAME.RANK.json.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

import models
import train
from gtzan_stream import Loader
from gtzan_stream.distributed import rank_and_world_size
from gtzan_stream.errors import BadSample
from gtzan_stream.inference import export
from gtzan_stream.training import collectives
from gtzan_stream.training.run import Run

ROOT = Path(__file__).parent.parent


class Small(nn.Module):
    """A network with an auxiliary head and a layer that nothing uses."""

    def __init__(self, n_classes: int, p: float = 0.0) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(128, 16), nn.Tanh(), nn.Dropout(p))
        self.head, self.auxiliary, self.unused = (nn.Linear(16, n_classes) for _ in range(3))

    def forward(self, features: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        hidden = self.trunk(features.mean(2))
        return (self.head(hidden), self.auxiliary(hidden)) if self.training else self.head(hidden)


def normed(n_classes: int) -> nn.Module:
    """A network with dropout and batch norm, whose results depend on the number of ranks."""
    return nn.Sequential(nn.BatchNorm1d(128), Small(n_classes, p=0.5))


NETWORKS = {"small": models.Spec(build=Small), "normed": models.Spec(build=normed)}


def fail(error: Exception) -> None:
    raise error


def replace_by_a_file(folder: Path) -> None:
    folder.rename(f"{folder}-moved")
    folder.touch()


ACTS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "interrupt": lambda: os.kill(os.getpid(), signal.SIGINT),
    "terminate torchrun": lambda: os.kill(os.getppid(), signal.SIGTERM),
    "interrupt the terminal": lambda: os.killpg(os.getpgid(os.getppid()), signal.SIGINT),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "sleep": lambda: time.sleep(1000),
    "raise": lambda: fail(RuntimeError("a mistake")),
    "bad sample": lambda: fail(BadSample("shard x, clip y: damaged")),
    "interrupt torchrun": lambda: os.kill(os.getppid(), signal.SIGINT),
    "replace the folder": lambda: replace_by_a_file(Path(os.environ["RUN"])),
}


def run_job(job: dict[str, Any]) -> None:
    """Run train.py's command, and write what happened in this process."""
    models.REGISTRY.update(NETWORKS)
    record: dict[str, Any] = {"sums": [], "gradients": [], "seeds": [], "used": None}
    act, originals = job.get("act", {}), (Run.step, Run.finish)

    def step(run: Run, batch: Any) -> None:
        originals[0](run, batch)
        record["seeds"].append(torch.initial_seed())
        record["sums"].append(run.progress._sums.tolist())
        gradients = {name: p.grad for name, p in run.network.named_parameters()}
        record["gradients"].append({name: None if g is None else g.tolist() for name, g in gradients.items()})
        record["weights"] = {name: value.tolist() for name, value in run.network.state_dict().items()}
        record["steps"] = run.progress.steps
        write(job, record)
        if (
            act.get("step") == run.progress.steps
            and act.get("rank", rank_and_world_size()[0]) == rank_and_world_size()[0]
        ):
            ACTS[act["what"]]()

    def finish(run: Run) -> Path:
        record["used"] = gradients_of_layers_that_some_ranks_use()
        if run.config.shards is not None:
            record["ddp"] = gradients_of_a_plain_loop(run.config.shards)
        run.train_loader.skipped.append(f"on rank {rank_and_world_size()[0]}")
        path = originals[1](run)
        record["weights"] = {name: value.tolist() for name, value in run.network.state_dict().items()}
        record["written"] = written
        write(job, record)
        return path

    if job.get("without_model"):
        export.write = lambda path, *_, **__: path.touch()  # type: ignore[assignment]
    written = watch_writes(Path(job["out"], "runs", job["name"]))
    Run.step, Run.finish = step, finish  # type: ignore[method-assign]
    try:
        with suppress(SystemExit) if job.get("goes_on") else nullcontext():
            train.app(job["arguments"])
    finally:
        Run.step, Run.finish = originals  # type: ignore[method-assign]


def watch_writes(folder: Path) -> list[str]:
    """Return a list to which the paths in `folder` are added that this process opens for writing, renames or makes."""
    paths: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in ("os.rename", "os.mkdir", "os.remove") or (event == "open" and arguments[2] & os.O_ACCMODE)
        if writes and str(arguments[0]).startswith(str(folder)):
            paths.append(str(arguments[0]))

    sys.addaudithook(watch)
    return paths


def write(job: dict[str, Any], record: dict[str, Any]) -> None:
    Path(job["out"], f"{job['name']}.{rank_and_world_size()[0]}.json").write_text(json.dumps(record))


def gradients_of_layers_that_some_ranks_use() -> list[Any]:
    """Average the gradients of layers that all ranks use, only the last, and none."""
    rank, world_size = rank_and_world_size()
    layers = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
    layers[0].grad = torch.full((2,), 1.0 + rank)
    if rank == world_size - 1:
        layers[1].grad = torch.full((2,), 6.0)
    total = collectives.average_gradients(layers, torch.tensor([1.0, rank]))
    assert total.untyped_storage().nbytes() == total.nbytes  # else the sums of a step keep all gradients in memory
    return [total.tolist(), *(None if layer.grad is None else layer.grad.tolist() for layer in layers)]


def gradients_of_a_plain_loop(shards: str) -> list[list[float]]:
    """Compute the gradients of each batch of an epoch as the README does, with DistributedDataParallel."""
    torch.manual_seed(0)
    network: nn.Module = nn.Linear(128, 10)
    if rank_and_world_size()[1] > 1:
        network = nn.parallel.DistributedDataParallel(network)
    found = []
    with Loader(shards, split="demo", part="train", batch_size=7, mixup=0.4, on_error="skip", num_workers=0) as loader:
        for batch in loader:
            network.zero_grad()
            losses = nn.functional.cross_entropy(network(batch.features.mean(2)), batch.targets, reduction="none")
            (losses * batch.loss_weights).sum().backward()
            found.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).tolist())
    return found


def command(jobs: list[dict[str, Any]]) -> list[str]:
    return [str(ROOT / "tests/ranks_program.py"), json.dumps(jobs)]


def start(jobs: list[dict[str, Any]], n_ranks: int, **environment: str) -> list[subprocess.Popen[str]]:
    """Start the ranks as torchrun does, but without its own process, which takes some seconds more."""
    stores = [distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) for _ in jobs]
    jobs = [{"port": store.port} | job for store, job in zip(stores, jobs, strict=True)]
    ranks = []
    for rank in range(n_ranks):
        variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n_ranks, "LOCAL_WORLD_SIZE": n_ranks}
        variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "of the job", "TORCHELASTIC_USE_AGENT_STORE": True}
        variables |= {"OMP_NUM_THREADS": 1, "PYTHONPATH": ROOT}
        process = subprocess.Popen(
            [sys.executable, *command(jobs)],
            env=os.environ | {name: str(value) for name, value in variables.items()} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.stores = stores  # type: ignore[attr-defined]  # they live as long as the processes
        ranks.append(process)
    return ranks


def outcomes(ranks: list[subprocess.Popen[str]], within_s: float = 120) -> list[tuple[int, str, str]]:
    """Return the exit status, stdout and stderr of each rank; kill those that take too long."""
    found = []
    try:
        for rank in ranks:
            out, err = rank.communicate(timeout=within_s)
            found.append((rank.returncode, out, err))
    finally:
        for rank in ranks:
            if rank.poll() is None:
                rank.kill()
                rank.communicate()
    return found


if __name__ == "__main__":
    for job in json.loads(sys.argv[1]):
        if "port" in job:  # not started by torchrun
            os.environ["MASTER_PORT"] = str(job["port"])
        run_job(job)
