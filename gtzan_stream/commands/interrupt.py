"""Say what was saved, and how to continue, when Ctrl-C ends a command."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gtzan_stream.errors import UserError
from gtzan_stream.words import FROM_THE_BEGINNING


class Interrupted(Exception):
    """Ctrl-C or SIGTERM ended a command: the message says what was saved and how to continue. `code`: exit status."""

    def __init__(self, message: str, code: int = 130) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def on_interrupt(describe: Callable[[], str]) -> Iterator[None]:
    """Convert Ctrl-C in the block to `Interrupted` with what `describe` returns, once all files are closed."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(describe()) from None


@contextmanager
def replaces_set(folder: Path) -> Iterator[None]:
    """Say after Ctrl-C in the block, which replaces the set in `folder` in one step, which set is there."""
    before = _manifest(folder)

    def describe() -> str:
        if (now := _manifest(folder)) != before:
            return f"the new set in {folder} is complete"
        return f"{'nothing was saved' if now is None else f'the set in {folder} is unchanged'}; {FROM_THE_BEGINNING}"

    with on_interrupt(describe):
        yield


def _manifest(folder: Path) -> bytes | None:
    """Return the manifest that readers of the folder get; None if there is none."""
    from gtzan_stream.store.folder import Folder

    try:
        return Folder(folder).manifest_path().read_bytes()
    except (UserError, OSError):
        return None
