"""Defer Ctrl-C and SIGTERM until the training loop can stop and write a checkpoint."""

import signal
from types import FrameType, TracebackType
from typing import Any

from gtzan_stream.distributed import rank_and_world_size
from gtzan_stream.training import collectives


class Interrupted(Exception):
    """The run was stopped by Ctrl-C or SIGTERM, after writing a checkpoint. `code` is the exit status, 130 or 143."""

    def __init__(self, number: signal.Signals | None = None) -> None:
        super().__init__()
        self.code = 128 + (number or signal.SIGINT)


class Interrupt:
    """A context in which the first SIGINT or SIGTERM only requests to stop; a second one acts as usual.

    With several processes, a signal to one of them stops all at the same step. Further signals are ignored, also after
    the context, because torchrun passes on signals that its processes have already received.

    Attributes
    ----------
    requested : Signals or None
        The signal that asks to stop. With several processes, the one that they agreed on when `check` was called.
    """

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self._received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._is_alone = rank_and_world_size()[1] == 1

    def __enter__(self) -> "Interrupt":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.requested and not self._is_alone:
            self._before = dict.fromkeys(self._before, signal.SIG_IGN)
        self._restore()

    def check(self) -> bool:
        """Return whether to stop. All processes call this after each step, and get the same answer."""
        if not self._is_alone and self.requested is None and (number := collectives.agree(int(self._received or 0))):
            self.requested = signal.Signals(number)
        return self.requested is not None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = signal.Signals(number)
        if self._is_alone:
            self.requested = self._received
            self._restore()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
