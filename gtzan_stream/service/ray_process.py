"""The process that places servers on a Ray cluster, which `cluster.run` starts.

`python -m gtzan_stream.service.ray_process`: the first line of stdin has the settings as JSON. Its stdout has lines of
JSON: {"serving": ...}, {"warning": text}, {"error": text}. Ray prints to stderr. The process ends when its stdin is
closed, as it is when its parent is killed, and the servers end with it.
"""

import json
import os
import sys
import threading
from functools import partial
from typing import Any

from gtzan_stream.errors import UserError, format_error

_JOIN_S = 60.0
_END_S = 3.0


def main() -> None:
    """Place servers until the parent ends."""
    settings = json.loads(sys.stdin.readline())
    out = os.dup(1)
    os.dup2(2, 1)
    say = partial(_say, out)
    address = settings.pop("address")
    where = f"the Ray cluster at {address} does not let this machine join" if address else "Ray does not start"
    too_late = threading.Timer(_JOIN_S, _fail, (say, f"{where} within {_JOIN_S:g} s: look into its logs, in /tmp/ray"))
    too_late.start()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        from gtzan_stream.service import on_ray

        on_ray.join(address)
        too_late.cancel()
        on_ray.Placement(**settings, say=say).run()
    except (UserError, OSError) as error:
        _fail(say, format_error(error))
    except BaseException as error:
        _fail(say, f"{type(error).__name__}: {' '.join(str(error).split())[-300:]}")


def _say(out: int, report: dict[str, Any]) -> None:
    os.write(out, json.dumps(report).encode() + b"\n")


def _fail(say: Any, reason: str) -> None:
    say({"error": reason})
    _end(2)


def _end_with_parent() -> None:
    """Wait until stdin is closed, and end this process, which may be waiting for the cluster."""
    while os.read(0, 1):
        pass
    _end(0)


def _end(status: int) -> None:
    """Leave the cluster, which ends the servers, and end this process. Ray can hang, so it gets a few seconds."""
    if (ray := sys.modules.get("ray")) is not None:
        leaving = threading.Thread(target=ray.shutdown, daemon=True)
        leaving.start()
        leaving.join(_END_S)
    os._exit(status)


if __name__ == "__main__":
    main()
