"""One server in a process of its own, which a supervisor starts: `python -m gtzan_stream.service.server_process`.

It reports what it serves, or the error that keeps it from serving. It ends at SIGTERM, and when the supervisor ends.
"""

import logging
import os
import signal
import sys
import time
from pathlib import Path

from gtzan_stream.errors import UserError, format_error
from gtzan_stream.service.child import at_end_of_parent, take_settings

_END_S = 5.0


def main() -> None:
    """Serve until the supervisor ends."""
    settings, say = take_settings()
    at_end_of_parent(_end)
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
        say({"error": format_error(error)})
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    manifest, device = server.manifest, str(server.device)
    say({"address": server.address, "dataset": manifest.dataset, "clips": len(manifest), "device": device})
    server.run()


def _end() -> None:
    """End this process, in which a batch may be being made."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_END_S)
    os._exit(1)


if __name__ == "__main__":
    main()
