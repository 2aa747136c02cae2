"""Run train.py's command on a small network, and print the CPU seconds that it took: sweep_program.py ARGUMENT ...

It writes an empty model.pt2, as tracing takes longer than the training.
"""

import sys
import time

import models
import train
from gtzan_stream.inference import export
from tests.ranks_program import NETWORKS

if __name__ == "__main__":
    models.REGISTRY.update(NETWORKS)
    export.write = lambda path, *_, **__: path.touch()  # type: ignore[assignment]
    begun_s = time.process_time()
    train.app(sys.argv[1:], standalone_mode=False)
    print("CPU seconds:", time.process_time() - begun_s)
