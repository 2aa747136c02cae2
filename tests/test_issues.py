"""Issues of the samples of a clip, compared with a slow count."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtzan_stream.audio import AudioInfo, Pcm
from gtzan_stream.store.issues import find_issues


def kinds(samples: np.ndarray, n_clipped: int = 0) -> dict[str, str]:
    info = AudioInfo(len(samples), 22050, 1, "WAV", "PCM_16")
    return dict(find_issues(Pcm(samples.astype(np.int16), 22050, n_clipped, info)))


@given(st.lists(st.sampled_from([32767, -32768, 32766, 0]), max_size=40))
def test_runs_at_full_scale_are_counted(samples: list[int]):
    at_full_scale = groupby(samples, lambda sample: sample in (32767, -32768))
    runs = sum(is_full and len(list(group)) >= 4 for is_full, group in at_full_scale)
    found = kinds(np.array(samples)).get("clipped", "")
    detail = f"{runs} run{'s' if runs > 1 else ''} of 4 or more samples at full scale"
    assert found == (detail if runs else "")


def test_samples_beyond_full_scale_are_counted_instead_of_runs():
    assert kinds(np.full(9, 32767), n_clipped=2)["clipped"] == "2 samples beyond full scale"


@pytest.mark.parametrize("sign", [1, -1])
def test_silence_is_a_peak_below_60_decibels(sign: int):
    """32.768 is a thousandth of full scale."""
    for peak, is_silent in ((0, True), (32, True), (33, False), (32767, False)):
        samples = sign * np.array([0, peak, 0])
        assert ("silent" in kinds(samples)) == is_silent, peak
    assert kinds(np.array([-32768, 0])) == {}
    assert kinds(np.zeros(9))["silent"] == "peak at -inf dB"
