"""What the supervisor starts in its tests, instead of a server: it starts at once, and does what its settings say.

Settings: "starts", a file that gets a line with the process ID at each start; and "lives", what to do at the first
start, the second, and so on; the last entry counts for all others.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

settings = json.loads(sys.stdin.readline())
starts = Path(settings["starts"])
with starts.open("a", encoding="utf-8") as file:
    print(os.getpid(), file=file)
n = len(starts.read_text(encoding="utf-8").splitlines())
life = settings["lives"][min(n, len(settings["lives"])) - 1]
if life == "crash":
    sys.exit(1)
if life == "refuse":
    print(json.dumps({"error": "the port is in use"}), flush=True)
    sys.exit(2)
if life == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(json.dumps({"address": settings["listen"]}), flush=True)
if life == "die":
    sys.exit(3)
if life == "deaf":
    time.sleep(60)
os.read(0, 1)
