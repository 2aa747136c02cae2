"""DistributedDataParallel: each process trains on its rows of the global batch, with the gradients of one process.

torchrun --nproc-per-node 2 examples/torchrun_ddp.py --shards shards/

With `--served 127.0.0.1:5690` in place of the shards, a feature service makes each process's rows; see docs/service.md.
"""

import argparse
import os
import time
from typing import Any

import torch
from torch import distributed, nn

from gtzan_stream import Loader

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--shards", default="shards/")
parser.add_argument("--served", metavar="ADDRESS", help="addresses of a feature service, in place of --shards")
arguments = parser.parse_args()

has_gpus = torch.cuda.is_available()
distributed.init_process_group("nccl" if has_gpus else "gloo")
device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if has_gpus else torch.device("cpu")

# `batch_size` is that of the global batch. The loader asks torch.distributed for its rank when an epoch begins.
settings: dict[str, Any] = {
    "split": "stratified",
    "part": "train",
    "batch_size": 16,
    "augment": "study",
    "device": device,
}
if arguments.served:
    from gtzan_stream.service import ServedLoader  # needs pyzmq

    loader: Loader = ServedLoader(arguments.served, **settings)
else:
    loader = Loader(arguments.shards, **settings)
torch.manual_seed(0)
layers = nn.Conv1d(128, 64, 5), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(64, len(loader.labels))
network = nn.parallel.DistributedDataParallel(nn.Sequential(*layers).to(device))
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
for epoch in range(3):
    total = torch.zeros((), device=device)
    for batch in loader:
        losses = nn.functional.cross_entropy(network(batch.features), batch.targets, reduction="none")
        loss = (losses * batch.loss_weights).sum()  # its average over processes is the mean over the global batch
        optimizer.zero_grad()
        loss.backward()  # averages the gradients over processes
        optimizer.step()
        total += loss.detach()
    distributed.all_reduce(total)
    if distributed.get_rank() == 0:
        print(f"epoch {epoch}: loss {total / distributed.get_world_size() / len(loader):.4f}")
loader.close()
distributed.destroy_process_group()
time.sleep(0.5)  # until the threads of gloo have freed the last tensors, else they may crash (pytorch issue 190489)
