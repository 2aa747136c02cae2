"""The arithmetic of frames, compared with frames counted one by one."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtzan_stream.errors import UserError
from gtzan_stream.geometry import MAX_CROP_SAMPLES, Geometry

VALID = {"sample_rate": 22050, "frame_length": 1024, "step": 512, "context": 512, "frames": 128, "grid": 512}


def geometries() -> st.SearchStrategy[Geometry]:
    def build(frame_length: int, step: int, context: int, frames: int, grid: int) -> Geometry:
        return Geometry(
            sample_rate=8000,
            frame_length=frame_length,
            step=step,
            context=min(context, frame_length),
            frames=frames,
            grid=grid,
        )

    sizes = st.integers(1, 60)
    return st.builds(build, sizes, sizes, st.integers(0, 60), sizes, sizes)


@given(geometries(), st.integers(1, 500))
def test_a_clip_has_the_frames_that_fit_into_its_padded_length(geometry: Geometry, n_samples: int) -> None:
    first, last = -geometry.context, n_samples + geometry.context  # the range that frames may read
    starts = [t * geometry.step - geometry.context for t in range(n_samples + 61)]
    expected = sum(first <= start and start + geometry.frame_length <= last for start in starts)
    assert max(geometry.frames_in(n_samples), 0) == expected


@given(geometries(), st.integers(1, 70))
def test_adjacent_frames_read_from_the_start_of_the_first_to_the_end_of_the_last(geometry: Geometry, n: int) -> None:
    read = {t * geometry.step + i for t in range(n) for i in (0, geometry.frame_length - 1)}
    assert geometry.span(n) == 1 + max(read) - min(read)
    assert geometry.read_length == geometry.span(geometry.frames)
    assert geometry.stride == geometry.frames * geometry.step


def test_frames_and_samples_may_be_arrays() -> None:
    geometry = Geometry(**VALID)
    assert geometry.frames_in(np.array([0, 511, 512, 65_535])).tolist() == [1, 1, 2, 128]
    assert geometry.span(np.array([1, 2])).tolist() == [1024, 1536]


def test_the_geometry_of_a_spectrogram() -> None:
    expected = Geometry(**VALID, silence=-100.0)
    assert Geometry.of_stft(sample_rate=22050, n_fft=1024, hop_length=512, frames=128, silence=-100.0) == expected
    assert (expected.read_length, expected.stride) == (66_048, 65_536)
    other = Geometry.of_stft(sample_rate=16_000, n_fft=400, hop_length=160, frames=100)
    assert (other.frame_length, other.step, other.context, other.grid) == (400, 160, 200, 160)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(({name: 0}, f"{name} must be at least 1, got 0") for name in VALID if name != "context"),
        ({"context": -1}, r"context must be at least 0, got -1"),
        ({"context": 1025}, "got 1025"),
        ({"silence": float("-inf")}, "silence must be finite, got -inf"),
    ],
)
def test_numbers_out_of_range_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Geometry(**VALID | change)


@pytest.mark.parametrize("n_fft", [0, 1, 1023])
def test_n_fft_must_be_even(n_fft: int) -> None:
    with pytest.raises(ValueError, match=f"n_fft must be even and at least 2, got {n_fft}"):
        Geometry.of_stft(sample_rate=22050, n_fft=n_fft, hop_length=512, frames=128)


def test_hop_length_must_be_positive() -> None:
    with pytest.raises(ValueError, match="hop_length must be at least 1, got 0"):
        Geometry.of_stft(sample_rate=22050, n_fft=1024, hop_length=0, frames=128)


def test_a_crop_may_be_as_long_as_memory_allows_and_no_longer() -> None:
    assert Geometry(**VALID | {"frames": 1, "frame_length": MAX_CROP_SAMPLES}).read_length == MAX_CROP_SAMPLES
    for change in ({"frame_length": MAX_CROP_SAMPLES + 1}, {"frames": 2, "step": 1, "frame_length": MAX_CROP_SAMPLES}):
        with pytest.raises(UserError, match=f"would read {MAX_CROP_SAMPLES + 1:,} samples"):
            Geometry(**VALID | {"frames": 1} | change)


def test_a_geometry_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Geometry(**VALID).frames = 3  # type: ignore[misc]
