"""Health: whether a server works, how often it has failed, why it refuses, and when to contact it again.

A server that fails is contacted again after a second, then two, up to 30. One that refuses is contacted after 30 s.
"""

import logging
import time
from typing import Any

from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.threads import fork_safe_lock

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 30.0


class Health:
    """What a client knows of a server's health. The methods may be called from any thread.

    Attributes
    ----------
    is_live : bool
        Whether the server can be asked: it has answered, and has not failed since.
    error : Exception, optional
        Why it failed; None if it works, or was not contacted yet.
    n_failures : int
        How often it has failed. What was begun before a failure fails, too.
    failed_at : tuple, optional
        What it was asked for when it failed last. It is cleared by who asks for that again.
    refusals : dict of str to UserError or BadSample
        Why it cannot be used: for a stream, by its digest, or for all of them, by "".
    """

    def __init__(self, address: str) -> None:
        self.is_live, self.n_failures = False, 0
        self.error: Exception | None = None
        self.failed_at: Any = None
        self.refusals = dict[str, UserError | BadSample]()
        self._address, self._pause_s = address, 0.0
        self._due = dict[str, float]()  # when to contact it again, for a stream or at all, as in `refusals`
        self._lock = fork_safe_lock()

    def is_due(self, digest: str) -> bool:
        """Return whether the time has come to contact the server for a stream, or for "" at all."""
        return time.monotonic() >= max(self._due.get("", 0), self._due.get(digest, 0))

    def note_answers(self, n: int) -> None:
        """Note that the server answers, unless it has failed more than `n` times."""
        with self._lock:
            self.is_live = n == self.n_failures
            if self.is_live:
                self._due.pop("", None)

    def note_works(self, n: int) -> None:
        """Note that the server has sent a batch that was asked for when it had failed `n` times."""
        if self.error is not None and n == self.n_failures:
            _log.warning("the server at %s works again", self._address)
            self.error, self._pause_s = None, 0.0

    def fail(self, error: Exception, n: int, failed_at: Any = None) -> bool:
        """Note that the server does not work. Returns False if it has failed more than `n` times already."""
        with self._lock:
            if n != self.n_failures:
                return False
            self.n_failures += 1
            is_news, self.error, self.is_live = self.error is None, error, False
            self.failed_at = failed_at or self.failed_at
            self.refusals.pop("", None)
            if self.is_due(""):  # else it was contacted in the pause, which does not make that longer
                self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LAST_PAUSE_S)
                self._due[""] = time.monotonic() + self._pause_s
        if is_news:
            _log.warning("the server at %s failed (%s)", self._address, error)
        return True

    def refuse(self, digest: str, error: UserError | BadSample) -> None:
        """Note that the server cannot be used, for a stream or at all."""
        with self._lock:
            is_news = str(error) != str(self.refusals.get(digest))
            self.refusals[digest] = error
            self.is_live = self.is_live and bool(digest)
            self._due[digest] = time.monotonic() + _LAST_PAUSE_S
        if is_news:
            _log.warning("%s (it is not used)", error)

    def accept(self, digest: str) -> None:
        """Note that the server can be used, for a stream or at all."""
        self.refusals.pop(digest, None)
