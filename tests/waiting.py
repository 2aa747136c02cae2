"""Wait until something has happened in another thread or process."""

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], within_s: float = 60) -> None:
    """Wait until a function returns something true. Raises AssertionError if that takes too long."""
    latest = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < latest, "this takes too long"
        time.sleep(0.01)
