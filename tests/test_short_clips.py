"""Clips that are too short to count, and whether the suggested settings suit them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_stream import crops
from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel, RawWaveform
from gtzan_stream.geometry import Geometry
from gtzan_stream.short_clips import check_lengths, suggested_settings, too_short
from tests.conftest import MANY

GEOMETRY = LogMel(sample_rate=8_000).geometry  # 360 samples, hop 180


def lengths_of(*seconds: float, sample_rate: int = 8_000) -> np.ndarray:
    return np.array([round(s * sample_rate) for s in seconds], np.int64)


def with_settings(geometry: Geometry, settings: dict[str, int]) -> Geometry:
    hop = settings.get("hop_length", geometry.step)
    return dataclasses.replace(geometry, step=hop, grid=hop, frames=settings["frames"])


def test_a_clip_counts_if_it_fills_half_a_crop_or_is_long_enough():
    half = 63 * 180
    assert too_short(np.array([half - 1, half, 2 * half]), GEOMETRY).tolist() == [True, False, False]
    long_crops = dataclasses.replace(GEOMETRY, frames=1024)
    assert too_short(lengths_of(1.4, 1.49, 23.0), long_crops).tolist() == [True, False, False]


@settings(max_examples=33 * MANY, deadline=None)
@given(
    st.lists(st.integers(1, 60_000), min_size=1, max_size=60),
    st.sampled_from([8_000, 16_000, 22_050, 44_100]),
    st.integers(1, 300),
    st.booleans(),
)
def test_with_the_suggested_settings_nine_tenths_of_the_clips_count(lengths, sample_rate, min_frames, any_hop):
    lengths = np.array(lengths, np.int64)
    geometry = LogMel(sample_rate=sample_rate).geometry
    found = suggested_settings(lengths, geometry, min_frames, any_hop=any_hop)
    if found is None:
        shortest, median = np.quantile(lengths, [0.1, 0.5], method="lower")
        assert not any_hop or min(1 + median, 2 * (1 + shortest)) < min_frames  # even at hop 1
        return
    new = with_settings(geometry, found)
    assert new.frames >= min_frames
    assert (~too_short(lengths, new)).sum() >= 0.9 * len(lengths)
    n = len(lengths)
    starts = crops.random_starts(np.linspace(0, 0.999, n), lengths, new, np.ones(n))
    assert crops.segments(starts, lengths, new).has_enough_audio.sum() >= 0.9 * n  # also for random crops
    assert new.stride <= max(np.median(lengths), 1) + 2 * geometry.step
    assert any_hop or set(found) == {"frames"}


@pytest.mark.parametrize(
    ("min_frames", "found"),
    [
        (1, {"frames": 16}),
        (16, {"frames": 16}),
        (17, {"frames": 18}),  # no multiple of 8 lies between the two
        (19, {"hop_length": 170, "frames": 19}),
        (64, {"hop_length": 45, "frames": 64}),
        (1000, {"hop_length": 3, "frames": 1000}),
        (5000, None),
    ],
)
def test_suggestions_have_fewer_frames_or_if_needed_a_shorter_hop(min_frames, found):
    lengths = lengths_of(0.2, 0.3, 0.39, 0.5, 0.9)
    assert suggested_settings(lengths, GEOMETRY, min_frames) == found


def test_the_lower_median_decides_for_an_even_number_of_clips():
    """Half of the clips have 14 frames or fewer, and the shortest has 7, half of 14."""
    assert suggested_settings(lengths_of(0.15, 0.3, 0.39, 0.5), GEOMETRY, 14) == {"frames": 14}


def test_no_hop_is_suggested_if_it_cannot_change():
    assert suggested_settings(lengths_of(0.39), GEOMETRY, 64, any_hop=False) is None
    assert suggested_settings(lengths_of(0.39), RawWaveform(sample_rate=8_000).geometry, 59_049) is None
    assert suggested_settings(lengths_of(0.4), RawWaveform(sample_rate=8_000).geometry) == {"frames": 3200}


def test_nothing_is_suggested_without_clips():
    assert suggested_settings(lengths_of(), GEOMETRY) is None


def test_if_no_clip_counts_the_error_states_their_lengths():
    message = (
        r"^every clip of part train is too short to count: the longest lasts 0\.90 s, the median 0\.50 s, "
        r"and half a crop of 128 frames lasts 1\.44 s; do that$"
    )
    with pytest.raises(UserError, match=message):
        check_lengths(lengths_of(0.3, 0.5, 0.9), GEOMETRY, "part train", lambda: "do that")


def test_many_short_clips_give_a_warning_and_few_give_none():
    def fail() -> str:
        raise AssertionError("the remedy was requested without need")

    assert check_lengths(lengths_of(*[3.0] * 9, 0.1), GEOMETRY, "part train", fail) is None
    assert check_lengths(lengths_of(), GEOMETRY, "part train", fail) is None
    note = check_lengths(lengths_of(*[3.0] * 8, 0.1, 0.1), GEOMETRY, "part train", lambda: "do that")
    assert note == (
        "2 of the 10 clips of part train are too short to count: half a crop of 128 frames lasts 1.44 s; do that"
    )
