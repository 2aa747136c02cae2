"""A trainer that uses the feature service.

python tests/served_program.py JSON

JSON has the arguments of ServedLoader; "epochs"; and "pace_s", a pause after each batch. Prints a line of JSON for each
batch: its number, and how long the trainer waited. The last line has the digest of all batches, and which modules of
Ray the process has imported.
"""

import hashlib
import json
import sys
import time

from gtzan_stream.service import ServedLoader

sys.path[0] = ""
arguments = json.loads(sys.argv[1])
epochs, pace_s = arguments.pop("epochs"), arguments.pop("pace_s")
digest, number = hashlib.sha256(), 0
with ServedLoader(**arguments) as loader:
    for _ in range(epochs):
        asked = time.monotonic()
        for features, targets in loader:
            print(json.dumps({"number": number, "wait_s": time.monotonic() - asked}), flush=True)
            digest.update(features.numpy().tobytes() + targets.numpy().tobytes())
            number += 1
            time.sleep(pace_s)
            asked = time.monotonic()
ray = [name for name in sys.modules if name.split(".")[0] == "ray"]
print(json.dumps({"digest": digest.hexdigest(), "batches": number, "ray": ray}))
