"""The process that places servers on a Ray cluster, which `cluster.run` starts.

`python -m gtzan_stream.service.ray_process`. Its reports are {"serving": ...}, {"warning": text} and {"error": text}.
It ends when its parent does, and the servers end with it.
"""

import os
import sys
import threading

from gtzan_stream.errors import UserError, format_error
from gtzan_stream.service.child import Say, at_end_of_parent, take_settings

_JOIN_S = 60.0
_END_S = 3.0


def main() -> None:
    """Place servers until the parent ends."""
    settings, say = take_settings()
    address = settings.pop("address")
    where = f"the Ray cluster at {address} does not let this machine join" if address else "Ray does not start"
    too_late = threading.Timer(_JOIN_S, _fail, (say, f"{where} within {_JOIN_S:g} s: look into its logs, in /tmp/ray"))
    too_late.start()
    at_end_of_parent(lambda: _end(0))
    try:
        from gtzan_stream.service import on_ray

        on_ray.join(address)
        too_late.cancel()
        on_ray.Placement(**settings, say=say).run()
    except (UserError, OSError) as error:
        _fail(say, format_error(error))
    except BaseException as error:
        _fail(say, f"{type(error).__name__}: {' '.join(str(error).split())[-300:]}")


def _fail(say: Say, reason: str) -> None:
    say({"error": reason})
    _end(2)


def _end(status: int) -> None:
    """Leave the cluster, which ends the servers, and end this process. Ray can hang, so it gets a few seconds."""
    if (ray := sys.modules.get("ray")) is not None:
        leaving = threading.Thread(target=ray.shutdown, daemon=True)
        leaving.start()
        leaving.join(_END_S)
    os._exit(status)


if __name__ == "__main__":
    main()
