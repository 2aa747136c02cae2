"""Starts, segments and chunks, compared with frames counted one by one, for any geometry, length and rate."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gtzan_stream import crops
from gtzan_stream.features import LogMel, RawWaveform
from gtzan_stream.geometry import Geometry
from tests.test_geometry import geometries

LOGMEL = LogMel().geometry
NEARLY_ONE = np.nextafter(1.0, 0.0)


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.int64 if all(isinstance(v, int) for v in values) else np.float64)


def frames_inside(geometry: Geometry, start: int, length: int, rate: float = 1.0) -> int:
    """Count the frames of a crop that are centred inside the clip."""
    remaining = int(np.floor((length - start) / rate))
    return sum(t < geometry.frames_in(remaining) for t in range(geometry.frames))


# --- chunks -----------------------------------------------------------------------------------------------------------


@given(geometries(), st.integers(1, 2000))
def test_chunks_count_if_half_of_them_is_inside_the_clip_and_one_always_does(geometry: Geometry, length: int) -> None:
    n_frames = geometry.frames_in(length)
    assume(n_frames >= 1)
    frames_of_chunks = [min(n_frames - first, geometry.frames) for first in range(0, n_frames, geometry.frames)]
    expected = max(sum(2 * frames >= geometry.frames for frames in frames_of_chunks), 1)
    assert crops.chunks_per_clip(array(length), geometry, "all").tolist() == [expected]


@pytest.mark.parametrize(("frames", "chunks"), [(1, 1), (127, 1), (128, 1), (191, 1), (192, 2), (319, 2), (320, 3)])
def test_a_chunk_counts_if_it_has_half_of_its_frames(frames: int, chunks: int) -> None:
    shortest, longest = 512 * (frames - 1), 512 * frames - 1
    assert crops.chunks_per_clip(array(shortest, longest), LOGMEL, "all").tolist() == [chunks] * 2


@given(geometries(), st.integers(0, 50))
def test_chunks_have_no_gap_and_no_overlap(geometry: Geometry, number: int) -> None:
    first, second = crops.chunk_starts(array(number, number + 1), geometry).tolist()
    after_the_last_frame = first + geometry.frames * geometry.step
    assert (first, second) == (number * geometry.stride, after_the_last_frame)


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("frames", [1, 50, 128, 1024, 16_384])
def test_the_limit_of_the_study_is_a_duration(sample_rate: int, frames: int) -> None:
    geometry = Geometry.of_stft(sample_rate=sample_rate, n_fft=400, hop_length=160, frames=frames)
    middles_s = (crops.chunk_starts(np.arange(20_000), geometry) + geometry.stride / 2) / sample_rate
    expected = max(int((middles_s <= 524_288 / 22_050).sum()), 1)
    assert crops.chunks_per_clip(array(100 * sample_rate * 60), geometry, "study").tolist() == [expected]


def test_the_limit_of_the_study_only_removes_chunks() -> None:
    lengths = array(10 * 22_050, 30 * 22_050, 524_288, 524_289)
    assert crops.chunks_per_clip(lengths, LOGMEL, "all").tolist() == [3, 10, 8, 8]
    assert crops.chunks_per_clip(lengths, LOGMEL, "study").tolist() == [3, 8, 8, 8]
    waveform = RawWaveform().geometry  # 7.9 chunks
    assert crops.chunks_per_clip(lengths, waveform, "study").tolist() == [3, 8, 8, 8]


# --- random crops -----------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(geometries(), st.integers(1, 3000), st.floats(0.5, 2.0), st.floats(0.0, NEARLY_ONE))
def test_a_crop_starts_on_the_grid_and_inside_the_clip_if_it_fits(
    geometry: Geometry, length: int, rate: float, uniform: float
) -> None:
    assume(geometry.frames_in(length) >= 1)
    (start,) = crops.random_starts(array(uniform), array(length), geometry, array(rate)).tolist()
    assert start % geometry.grid == 0
    assert start >= 0
    covered = int(np.ceil(geometry.frames * rate))
    last = start // geometry.step + (start % geometry.step > 0) + covered - 1
    assert start == 0 or last < geometry.frames_in(length)


@settings(max_examples=100)
@given(geometries(), st.integers(1, 1500), st.floats(0.5, 2.0))
def test_all_grid_points_from_which_the_crop_fits_are_equally_likely(
    geometry: Geometry, length: int, rate: float
) -> None:
    covered, n_frames = int(np.ceil(geometry.frames * rate)), geometry.frames_in(length)
    assume(n_frames >= 1)
    expected = [
        start
        for start in range(0, geometry.step * n_frames + 1, geometry.grid)
        if start == 0 or start + (covered - 1) * geometry.step <= (n_frames - 1) * geometry.step
    ]
    n = len(expected)
    uniform = (np.arange(n) + 0.5) / n  # the middle of each of n equal parts
    starts = crops.random_starts(uniform, np.full(n, length), geometry, np.full(n, rate))
    assert starts.tolist() == expected


@pytest.mark.parametrize(("rate", "last"), [(1.0, 23), (1.5, 0), (0.5, 87), (1.25, 0)])
def test_the_last_possible_start_is_drawn_and_depends_on_the_rate(rate: float, last: int) -> None:
    length = 512 * 150  # 151 frames
    (start,) = crops.random_starts(array(NEARLY_ONE), array(length), LOGMEL, array(rate)).tolist()
    assert start == 512 * last


def test_crops_of_raw_waveforms_start_on_the_grid_of_spectrograms() -> None:
    geometry = RawWaveform().geometry
    starts = crops.random_starts(np.linspace(0, NEARLY_ONE, 500), np.full(500, 66_150 + 1024), geometry, np.ones(500))
    assert sorted(set(starts.tolist())) == [0, 512, 1024]


# --- segments ---------------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(geometries(), st.integers(1, 3000), st.integers(0, 3000), st.floats(0.5, 2.0))
def test_frames_after_the_end_of_the_clip_are_padding(geometry: Geometry, length: int, start: int, rate: float) -> None:
    assume(start < length)
    segment = crops.segments(array(start), array(length), geometry, array(rate))
    assert segment.valid_frames.tolist() == [frames_inside(geometry, start, length, rate)]


@given(geometries(), st.integers(0, 500), st.floats(0.5, 2.0), st.integers(-50, 50), st.integers(1, 900))
def test_a_segment_starts_at_the_context_of_the_first_frame(
    geometry: Geometry, start: int, rate: float, before: int, length: int
) -> None:
    segment = crops.segments(array(start), array(1000), geometry, array(rate), array(before), array(length))
    assert segment.start.tolist() == [start - round(geometry.context * rate) - before]
    assert segment.length.tolist() == [length]


def test_without_augmentation_a_segment_is_the_crop_itself() -> None:
    segment = crops.segments(array(0, 5120), array(100_000, 100_000), LOGMEL)
    assert segment.start.tolist() == [-512, 5120 - 512]
    assert segment.length.tolist() == [66_048] * 2
    assert segment.valid_frames.tolist() == [128] * 2
    assert segment.has_enough_audio.tolist() == [True] * 2


@pytest.mark.parametrize(("valid", "counts"), [(63, False), (64, True), (65, True), (128, True)])
def test_a_row_counts_if_half_of_its_frames_are_valid(valid: int, counts: bool) -> None:
    """The crop starts near the end of a long clip, so that it does not hold all of the clip."""
    length, start = 512 * 1000, 512 * (1001 - valid)
    segment = crops.segments(array(start), array(length), LOGMEL)
    assert (segment.valid_frames.tolist(), segment.has_enough_audio.tolist()) == ([valid], [counts])


@pytest.mark.parametrize("sample_rate", [8000, 22_050, 44_100])
def test_a_row_that_holds_a_whole_short_clip_counts_if_the_clip_is_long_enough(sample_rate: int) -> None:
    geometry = Geometry.of_stft(sample_rate=sample_rate, n_fft=512, hop_length=256, frames=2000)
    shortest = -(-32_768 * sample_rate // 22_050)
    lengths, starts = (
        array(shortest - 1, shortest, shortest),
        array(0, 0, 256),
    )  # the last row lacks frame 0
    segment = crops.segments(starts, lengths, geometry)
    assert (2 * segment.valid_frames < 2000).all()
    assert segment.has_enough_audio.tolist() == [False, True, False]
    faster = crops.segments(starts, lengths, geometry, array(1.5, 1.5, 1.5))
    assert faster.has_enough_audio.tolist() == [False, True, False]  # the clip's own length counts, at any rate


def test_clips_shorter_than_a_crop() -> None:
    lengths = array(512 * 127 - 1, 512 * 127)
    assert crops.is_shorter_than_crop(lengths, LOGMEL).tolist() == [True, False]
    assert crops.segments(array(0, 0), lengths, LOGMEL).valid_frames.tolist() == [127, 128]


@given(
    frames=st.integers(1, 8),
    step=st.integers(1, 600),
    n_fft=st.sampled_from([2, 64, 1024]),
    uniform=st.floats(0, 1, exclude_max=True),
    rate=st.floats(0.25, 3.0),
    longer=st.integers(0, 50_000),
)
def test_a_random_crop_of_a_clip_that_is_long_enough_always_counts(frames, step, n_fft, uniform, rate, longer):
    geometry = Geometry.of_stft(sample_rate=22050, n_fft=n_fft, hop_length=step, frames=frames)
    lengths, rates = np.array([32_768 + longer]), np.array([rate])
    assert crops.is_long_enough(lengths, geometry).all()
    starts = crops.random_starts(np.array([uniform]), lengths, geometry, rates)
    assert crops.segments(starts, lengths, geometry, rates, is_random=True).has_enough_audio.all()


def test_a_crop_that_fits_may_lose_most_of_its_frames_to_rounding_and_counts_if_it_is_random():
    """One frame at a low rate, at the last start: its centre, after the rate, is beyond the clip's end."""
    geometry = Geometry(sample_rate=22050, frame_length=1024, step=512, context=1024, frames=1, grid=1)
    lengths, rates = np.array([40_000]), np.array([0.25])
    starts = crops.random_starts(np.array([1 - 1e-9]), lengths, geometry, rates)
    found = [crops.segments(starts, lengths, geometry, rates, is_random=random) for random in (True, False)]
    assert [segments.has_enough_audio.tolist() for segments in found] == [[True], [False]]
