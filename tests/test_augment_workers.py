"""Worker processes that exit, are killed, hang or print; closing the pool."""

import gc
import re
import sys
import threading
from collections.abc import Iterator

import pytest

from gtzan_stream.augment import worker_process
from gtzan_stream.augment.workers import Workers
from gtzan_stream.errors import UserError
from tests.audio_functions import by_first_sample, louder
from tests.worker_cases import call, posix, wait_until


@pytest.fixture
def workers() -> Iterator[Workers]:
    pool = Workers(by_first_sample, 1, timeout_s=60)
    yield pool
    pool.close()


@posix
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (2, "KeyError: 'second line"),
        (3, "its worker process ended (exit status 3)"),
        (4, "its worker process ended (exit status 1); its last output was: no licence"),
        (5, "its worker process ended (killed by SIGKILL); its last output was: last words, without a line end"),
    ],
)
def test_a_call_that_ends_its_process_says_how(workers: Workers, fault: int, message: str) -> None:
    assert call(workers, 1) == 2
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        call(workers, fault)
    assert not isinstance(error.value, UserError)
    assert call(workers, 1) == 2
    assert len(workers._started) == 1


@posix
@pytest.mark.parametrize("fault", [6, 8])
def test_a_call_that_takes_too_long_is_killed(fault: int) -> None:
    """Also if it has exited, and a process that it started has its pipes open."""
    workers = Workers(by_first_sample, 1, timeout_s=1)
    assert call(workers, 1) == 2
    with pytest.raises(ValueError, match="its worker process did not answer within 1 s and was killed"):
        call(workers, fault)
    assert call(workers, 1) == 2
    workers.close()


def test_the_first_call_of_a_process_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(by_first_sample, 1, timeout_s=0.001)
    monkeypatch.setattr(worker_process, "FIRST_CALL_S", 60.0)
    assert call(workers, 1) == 2
    monkeypatch.setattr(worker_process, "FIRST_CALL_S", 0.0)
    workers.close()
    workers = Workers(by_first_sample, 1, timeout_s=0.001)
    with pytest.raises(ValueError, match=r"did not answer within 0\.001 s"):
        call(workers, 1)
    workers.close()


def test_a_pause_of_the_program_does_not_use_up_the_time(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait of a minute that ends at once is what the program sees after Ctrl-Z and `fg`."""
    waits: list[float] = []

    class Answered(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0)
            return len(waits) == 5

    call(workers, 1)
    (worker,) = workers._started
    worker._kill_after(60.0, Answered())
    assert waits == [1] * 5
    assert not worker.has_ended()


@posix
@pytest.mark.parametrize(("n_answered", "limit"), [(0, 3), (1, 5)])
def test_many_calls_in_a_row_that_end_their_process_are_a_user_error(
    workers: Workers, monkeypatch: pytest.MonkeyPatch, n_answered: int, limit: int
) -> None:
    """Before the first answer fewer are needed, because the transform may never work."""
    monkeypatch.setattr("gtzan_stream.augment.workers.MAX_UNANSWERED", 5)

    def fail(seed: int) -> type:
        with pytest.raises(ValueError, match="exit status 3") as error:
            call(workers, 3, seed)
        return type(error.value)

    for _ in range(n_answered):
        assert [fail(1), fail(2)] == [ValueError] * 2
        assert call(workers, 1) == 2
    assert [fail(3), fail(3), fail(3)] == [ValueError] * 3  # the same call, as a batch on CUDA is tried again
    assert [fail(seed) for seed in range(4, limit + 2)] == [ValueError] * (limit - 2)
    with pytest.raises(
        UserError, match=rf"{limit} calls .* in a row got no answer; .*\(exit status 3\); .*num_workers=0"
    ):
        call(workers, 3, 99)


@posix
def test_a_process_that_died_while_idle_is_replaced(workers: Workers) -> None:
    call(workers, 1)
    (worker,) = workers._started
    worker.popen.kill()
    worker.popen.wait()
    assert call(workers, 1) == 2
    assert worker not in workers._started


@posix
def test_output_goes_to_stderr_and_not_among_the_results(workers: Workers, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(workers, 7) == 14
    assert call(workers, 1) == 2
    workers.close()
    lines = capsys.readouterr().err.splitlines()
    assert sorted(set(lines)) == ["by descriptor", "from Python", "from a program", "to stderr"]
    assert lines.count("by descriptor") == 5000


def test_output_does_not_stop_a_process_if_stderr_is_closed(monkeypatch: pytest.MonkeyPatch, workers: Workers) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    for _ in range(4):
        assert call(workers, 7) == 14  # about 70 KB, more than fits into a pipe
    monkeypatch.undo()


def test_a_closed_pool_has_no_processes_or_threads_and_refuses_calls() -> None:
    before = threading.active_count()
    workers = Workers(louder, 2, 60)
    call(workers, 1)
    (worker,) = workers._started
    workers.close()
    workers.close()
    assert worker.has_ended()
    assert workers._started == []
    wait_until(lambda: threading.active_count() <= before)
    with pytest.raises(UserError, match="closed: make another one"):
        call(workers, 1)


@posix
def test_closing_ends_calls_that_are_running_or_waiting() -> None:
    workers, errors = Workers(by_first_sample, 1, 600), []
    call(workers, 1)
    (worker,) = workers._started

    def hang() -> None:
        try:
            call(workers, 6)
        except UserError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=hang) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: bool(worker._last_line))
    workers.close()
    for thread in threads:
        thread.join(60)
    assert errors == ["this Audiomentations is closed: make another one"] * 3
    assert workers._started == []


def test_a_pool_that_is_not_needed_any_more_ends_its_processes() -> None:
    workers = Workers(louder, 1, 60)
    call(workers, 1)
    (worker,) = workers._started
    del workers
    gc.collect()
    assert worker.has_ended()
