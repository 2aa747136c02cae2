"""One server in a process of its own, which a supervisor starts: `python -m gtzan_stream.service.server_process`.

The first line of its stdin has its settings as JSON. Its stdout has one line of JSON: what it serves, or the error that
keeps it from serving. What others print, such as augmentations of your own, goes to stderr. It ends at SIGTERM, and
when its stdin is closed, as it is when the supervisor is killed.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from gtzan_stream.errors import UserError, format_error

_END_S = 5.0


def main() -> None:
    """Serve until the supervisor ends."""
    line = sys.stdin.readline()
    if not line:
        return  # the supervisor has ended already
    settings = json.loads(line)
    report = partial(_report, os.dup(1))
    os.dup2(2, 1)  # the supervisor reads no more than one line, so a server that prints more would hang
    threading.Thread(target=_end_with_supervisor, daemon=True).start()  # while this process imports torch, too
    logging.basicConfig(format=f"gtzan-stream: server {settings['listen'].removeprefix('tcp://')}: %(message)s")
    logging.getLogger("gtzan_stream").setLevel(logging.INFO if settings.pop("verbose") else logging.WARNING)
    threads = settings.pop("torch_threads")
    try:
        import torch

        from gtzan_stream.service.server import Server

        torch.set_num_threads(threads)
        keys = settings.pop("keys")
        server = Server(**settings, keys=keys and Path(keys))
    except (UserError, OSError) as error:
        report({"error": format_error(error)})
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    manifest, device = server.manifest, str(server.device)
    report({"address": server.address, "dataset": manifest.dataset, "clips": len(manifest), "device": device})
    server.run()


def _report(out: int, content: dict[str, Any]) -> None:
    os.write(out, json.dumps(content).encode() + b"\n")


def _end_with_supervisor() -> None:
    """Wait until stdin is closed, and end this process, in which a batch may be being made."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_END_S)
    os._exit(1)


if __name__ == "__main__":
    main()
