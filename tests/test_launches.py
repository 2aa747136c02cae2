"""On a GPU, a batch of 64 needs as many launches as one example, for every transform and feature."""

from collections import Counter

import numpy as np
import pytest
import torch

from gtzan_stream.augment import (
    Gain,
    GaussianNoise,
    Identity,
    Percussive,
    PitchShift,
    SpeedPerturb,
    TimeShift,
    TimeStretch,
    Transform,
    recipe,
)
from gtzan_stream.crops import Segments
from gtzan_stream.device_rows import DeviceRows
from gtzan_stream.features import LogMel, RawWaveform
from gtzan_stream.plan import Rows
from gtzan_stream.row_errors import RowErrors
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader
from tests.augment_cases import PUBLIC, keys
from tests.conftest import need
from tests.launches import counted

TRANSFORMS = {
    "gain": Gain(0.2, 3.0),
    "noise": GaussianNoise(0.001, 0.1),
    "shift": TimeShift(-2000, 3000),
    "stretch": TimeStretch(0.8, 1.3),
    "pitch up": PitchShift(0.5, 4.0),
    "pitch down": PitchShift(-4.0, -0.5),
    "speed": SpeedPerturb(0.8, 1.25),
    "percussive": Percussive(),
}
"""One of each class, with `p` 1."""
FEATURES = {
    "log-mel": {},
    "log-mel in decibels": {"compression": "db", "power": 2.0},
    "log-mel 400": {"n_fft": 400, "hop_length": 160, "n_mels": 40},
}
LENGTH = 66_048


def launches(transform: Transform, batch: int, length: int | None = None) -> Counter[str]:
    """Count the launches of a transform, on whole clips or on the segments that a loader reads."""
    draw = transform.draw(keys(batch), seed=1, epoch=2)
    wanted = None if length is None else np.full(batch, length)
    time = LENGTH if wanted is None else int(transform.source(wanted, draw).length.max())
    with counted() as found:
        transform.apply(torch.empty(batch, time, device="meta"), draw, wanted)
    return found


def of_features(options: dict, batch: int) -> Counter[str]:
    features = LogMel(**options).to("meta")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "autocast", lambda *args, **others: torch.no_grad())  # torch has none for meta tensors
        for _ in range(2):  # the first call makes tables
            with counted() as found:
                features(torch.empty(batch, LENGTH, device="meta"))
    return found


def test_every_transform_is_here():
    need("triton")
    combined = {"Compose", "OneOf", "Identity", "Audiomentations"}
    assert {type(transform) for transform in TRANSFORMS.values()} == {c for c in PUBLIC if c.__name__ not in combined}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_batch_needs_the_launches_of_one_example(name: str):
    need("triton")
    launches(TRANSFORMS[name], 1)  # makes the window
    one, many = launches(TRANSFORMS[name], 1), launches(TRANSFORMS[name], 64)
    assert 0 < one.total() <= many.total()
    assert one == many
    assert many == launches(TRANSFORMS[name], 2)
    assert launches(TRANSFORMS[name], 64, LENGTH) == launches(TRANSFORMS[name], 2, LENGTH)


@pytest.mark.parametrize("name", FEATURES)
def test_features_of_a_batch_need_the_launches_of_one_example(name: str):
    need("triton")
    one = of_features(FEATURES[name], 1)
    assert one["triton:_mel"] == 1
    assert of_features(FEATURES[name], 64) == one


def test_a_pitch_shift_needs_the_same_launches_in_both_directions():
    need("triton")
    launches(PitchShift(), 2)  # makes the window
    up = launches(TRANSFORMS["pitch up"], 64)
    assert launches(TRANSFORMS["pitch down"], 64) == launches(PitchShift(-4.0, 4.0), 64) == up
    assert {name: n for name, n in up.items() if "triton" in name} == {
        "triton:_cut_at": 1, "triton:_slope": 1, "triton:_turn": 1, "triton:_overlap_add": 1,
        "triton:_taps": 1, "triton:_double_rate": 1, "triton:_read": 1,
    }  # fmt: skip


def test_a_recipe_needs_at_most_the_launches_of_its_members():
    need("triton")
    launches(recipe("study"), 256, LENGTH)  # makes the window
    found = launches(recipe("study"), 256, LENGTH)
    assert found["_fft_r2c"] == found["_fft_c2r"] == 3  # stretch, pitch, percussive
    assert found["triton:_median"] == 2
    assert launches(recipe("study"), 1024, LENGTH) == found


class Silence(ClipReader):
    """Stands for the reader of a set of 16-bit clips."""

    def __init__(self) -> None:
        self.dtype = np.int16

    def direct_rows(self, clips: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
        """Leave all rows to `read`."""

    def read(self, clip: int, start: int, out: np.ndarray) -> None:
        out[:] = 0


def test_a_loaders_batch_is_copied_once_and_converted_in_one_pass():
    features, transform, four = RawWaveform(frames=100), Identity(), np.arange(4)
    segments = Segments(four, np.full(4, 100), np.full(4, 100), four > 0)
    errors = RowErrors(object.__new__(Manifest), Rows(four, four, four.astype(float)), skip=False)
    with counted() as found:
        rows = DeviceRows(Silence(), features, torch.device("meta"), 0)
        rows.compute(four, segments, transform, transform.draw(keys(4)), errors)
    assert found == {"_to_copy": 1, "mul": 1}


def test_ends_of_segments_are_set_to_zero_where_they_are_if_a_batch_may_be_overwritten():
    need("triton")
    transform = SpeedPerturb(0.8, 1.25)
    draw, wanted = transform.draw(keys(9)), np.full(9, 900)
    waveform = torch.empty(9, int(transform.source(wanted, draw).length.max()), device="meta")
    found = []
    for overwrite in (False, True):
        with counted() as calls:
            transform.apply(waveform, draw, wanted, overwrite=overwrite)
        found.append(calls)
    assert found[0]["triton:_clear"] == found[1]["triton:_clear"] == 1
    assert found[0] - found[1] == {"clone": 2}  # the other one as all meta tensors have the address 0
