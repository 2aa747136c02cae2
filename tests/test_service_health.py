"""What a client knows of a server's health, at times that the test chooses."""

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.service import health
from gtzan_stream.service.health import Health
from gtzan_stream.service.protocol import ServiceError


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    times = [100.0]
    monkeypatch.setattr(health.time, "monotonic", lambda: times[0])
    return times


OFF = ServiceError("it is off")


def pause(server: Health, now: list[float]) -> float:
    """Return after how many seconds it is due, and let them pass."""
    begun = now[0]
    while not server.is_due(""):
        now[0] += 0.5
    return now[0] - begun


def test_pauses_grow_to_half_a_minute(now: list[float]):
    server, pauses = Health("x"), []
    assert server.is_due("")
    for n in range(7):
        assert server.fail(OFF, n)
        pauses.append(pause(server, now))
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    server.note_works(7)
    server.fail(OFF, 7)
    assert pause(server, now) == 1


def test_failures_in_a_pause_do_not_make_it_longer(now: list[float]):
    server = Health("x")
    for n in range(20):  # a trainer without another server asks again and again
        server.fail(OFF, n)
        now[0] += 0.04
    assert pause(server, now) <= 1


def test_a_server_that_answers_is_due_at_once(now: list[float]):
    server = Health("x")
    server.fail(OFF, 0)
    server.note_answers(0)  # from before the failure
    assert not server.is_live
    assert not server.is_due("")
    server.note_answers(1)
    assert server.is_live
    assert server.is_due("")


def test_a_failure_counts_once_and_ends_a_refusal(now: list[float]):
    server = Health("x")
    server.refuse("", UserError("other clips"))
    assert server.fail(OFF, 0)
    assert not server.fail(ServiceError("again"), 0)
    assert (server.n_failures, server.error, server.refusals) == (1, OFF, {})


def test_a_refusal_counts_for_its_stream(now: list[float]):
    server = Health("x")
    server.note_answers(0)
    server.refuse("a", UserError("not allowed"))
    assert server.is_live
    assert (server.is_due("a"), server.is_due("b"), server.is_due("")) == (False, True, True)
    now[0] += 30
    assert server.is_due("a")
    server.refuse("", UserError("other clips"))
    assert not server.is_live
    assert not server.is_due("b")
    server.accept("")
    assert [*server.refusals] == ["a"]
