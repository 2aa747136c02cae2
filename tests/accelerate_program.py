"""Train with Accelerate in one or more processes and record the batches of each rank: accelerate_program.py JOBS.

JOBS is a JSON list; the jobs run one after the other. A job has `name`, `shards` and `out`, and optionally `settings`
(of the loader), `state` (a folder to resume from), `save` (steps after which to save a state in `out`/NAME-STEP) and
`prepare` (whether to pass the loader to `prepare`, too). Each rank writes `out`/NAME.RANK.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy

from gtzan_stream import Loader
from tests.trainer_runs import SETTINGS, described

EPOCHS = 2


def run_job(job: dict[str, Any]) -> None:
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(128, 16), torch.nn.Tanh(), torch.nn.Linear(16, 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    loader = Loader(job["shards"], device=accelerator.device, **SETTINGS | job.get("settings", {}))
    network, optimizer = accelerator.prepare(network, optimizer)
    if job.get("prepare"):
        assert accelerator.prepare(loader) is loader
    accelerator.register_for_checkpointing(loader)
    step, seen = 0, []
    if "state" in job:
        accelerator.load_state(job["state"])
        step = int(job["state"].rsplit("-", 1)[1])
    while loader.epoch < EPOCHS:
        for batch in loader:
            assert batch.features.device.type == accelerator.device.type
            index = step % len(loader)
            seen.append({"kind": "train", "epoch": batch.epoch, "index": index, "rows": described(batch)})
            losses = cross_entropy(network(batch.features.mean(2)), batch.targets, reduction="none")
            optimizer.zero_grad()
            accelerator.backward((losses * batch.loss_weights).sum())
            optimizer.step()
            step += 1
            if step in job.get("save", []):
                accelerator.save_state(f"{job['out']}/{job['name']}-{step}")
    weights = {name: value.tolist() for name, value in accelerator.unwrap_model(network).state_dict().items()}
    record = {"seen": seen, "weights": weights, "n_processes": accelerator.num_processes}
    Path(job["out"], f"{job['name']}.{accelerator.process_index}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    for job in json.loads(sys.argv[1]):
        run_job(job)
