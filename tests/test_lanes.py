"""How many lanes are chosen, and what happens where they do not work."""

import logging
import sys

import numpy as np
import pytest

from gtzan_stream.kernels import lane_count
from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.lanes import lanes


@pytest.fixture(autouse=True)
def forget():
    """Test the machine again in this test and in those after it."""
    lanes.cache_clear()
    yield
    lanes.cache_clear()


@pytest.mark.parametrize(
    ("machine", "features", "number"),
    [
        ("x86_64", {"avx512f", "avx2", "fma"}, 16),
        ("AMD64", {"avx2", "fma"}, 8),
        ("x86_64", {"sse2", "avx"}, 0),
        ("aarch64", {"neon"}, 8),
        ("arm64", set(), 8),
    ],
)
def test_the_number_fits_the_cpu(monkeypatch, machine, features, number):
    monkeypatch.delenv("GTZAN_STREAM_LANES", raising=False)
    monkeypatch.setattr(lane_count, "_features", lambda: features)
    monkeypatch.setattr(lane_count.platform, "machine", lambda: machine)
    assert lane_count._chosen_lanes() == number


def test_the_features_are_those_that_numba_compiles_for(monkeypatch):
    monkeypatch.setattr(lane_count.config, "CPU_FEATURES", "+avx2,+fma,-avx512f")
    assert lane_count._features() == {"avx2", "fma", "-avx512f"}
    monkeypatch.setattr(lane_count.config, "CPU_FEATURES", None)
    assert lane_count._features().isdisjoint({"-avx512f", ""})
    monkeypatch.setattr(lane_count.config, "CPU_NAME", "generic")
    assert lane_count._features() == {""}


@pytest.mark.parametrize("text", ["16", "8", "0"])
def test_the_environment_forces_a_number(monkeypatch, text):
    monkeypatch.setenv("GTZAN_STREAM_LANES", text)
    assert lane_count._chosen_lanes() == int(text)


def test_another_number_in_the_environment_is_reported_and_ignored(monkeypatch, caplog):
    monkeypatch.setattr(lane_count, "_fitting_lanes", lambda: 8)
    monkeypatch.setenv("GTZAN_STREAM_LANES", "4")
    with caplog.at_level(logging.WARNING):
        assert lane_count._chosen_lanes() == 8
    assert caplog.messages == ["GTZAN_STREAM_LANES must be 16, 8 or 0, got '4': the number that suits this CPU is used"]


def test_the_lanes_of_this_machine_pass_the_test():
    assert lanes() == LANES


def raise_error() -> None:
    raise TypeError("no vectors\nmore lines")


def wrong_sums(signals, weights, in_lanes, out):
    in_lanes[:] = signals.reshape(len(out), -1).T.ravel()
    out.fill(0)


def wrong_order(signals, weights, in_lanes, out):
    in_lanes[:] = signals
    out[:] = np.sqrt(signals.reshape(len(out), -1).astype(float) ** 2 @ weights)


WRONG = {"sums": wrong_sums, "order": wrong_order}


@pytest.mark.parametrize("fault", ["import", "compilation", *WRONG])
def test_where_vectors_do_not_work_there_are_no_lanes_and_one_line_says_so(monkeypatch, caplog, fault):
    monkeypatch.setattr("gtzan_stream.kernels.lanes.LANES", LANES or 8)
    checks = "gtzan_stream.kernels.lanes_check"
    if fault == "import":
        monkeypatch.setitem(sys.modules, checks, None)
    elif fault == "compilation":
        monkeypatch.setattr(f"{checks}.check", raise_error)
    else:
        monkeypatch.setattr(f"{checks}.LANES", LANES or 8)
        monkeypatch.setattr(f"{checks}._sums", WRONG[fault])
    with caplog.at_level(logging.WARNING):
        assert [lanes(), lanes()] == [0, 0]
    (message,) = caplog.messages
    assert message.startswith("slower kernels are used, as vectors of ")
    expected = {"import": "halted", "compilation": ": no vectors"}
    assert expected.get(fault, "they give wrong results") in message
    assert "\n" not in message


def test_without_lanes_nothing_is_tested(monkeypatch, caplog):
    monkeypatch.setattr("gtzan_stream.kernels.lanes.LANES", 0)
    monkeypatch.setattr("gtzan_stream.kernels.lanes_check.check", raise_error)
    assert lanes() == 0
    assert not caplog.messages
