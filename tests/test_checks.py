"""Arguments that must be whole numbers in a range; integers of numpy and torch are accepted."""

import numpy as np
import pytest
import torch

from gtzan_stream.checks import checked_int
from gtzan_stream.errors import UserError
from gtzan_stream.features import Frames, LogMel, RawWaveform
from gtzan_stream.geometry import Geometry
from gtzan_stream.loader import Loader
from gtzan_stream.store.pack import pack
from tests.augment_cases import untyped
from tests.conftest import write_wav

GEOMETRY = {"sample_rate": 8000, "frame_length": 400, "step": 200, "context": 200, "frames": 10, "grid": 200}


@pytest.mark.parametrize("number", [3, np.int64(3), np.uint8(3), torch.tensor(3)])
def test_a_whole_number_of_any_library_becomes_an_int(number):
    assert checked_int("n", number) == 3
    assert type(checked_int("n", number)) is int


@pytest.mark.parametrize("value", [1.0, 1.5, "1", None, True, [1], np.array([1, 2]), torch.tensor([1, 2]), 1j])
def test_other_values_are_refused(value):
    with pytest.raises(UserError, match="n must be a whole number, got "):
        checked_int("n", value)


def test_values_below_the_minimum_are_refused():
    assert checked_int("n", 0) == 0
    assert checked_int("n", 2, minimum=2) == 2
    with pytest.raises(UserError, match="n must be at least 2, got 1"):
        checked_int("n", 1, minimum=2)
    with pytest.raises(UserError, match="n must be at least 0, got -1"):
        checked_int("n", -1)


@pytest.mark.parametrize("name", ["batch_size", "crops_per_clip", "shuffle_shards", "num_workers", "seed", "rank"])
@pytest.mark.parametrize("value", [1.5, "2", -1, True])
def test_a_loader_names_the_wrong_number(shards, name, value):
    others = {"world_size": 4} if name == "rank" else {}
    with untyped(), pytest.raises(UserError, match=f"^{name} must be "):
        Loader(shards, **{name: value}, **others)


def test_a_loader_accepts_numbers_of_numpy(shards):
    with untyped():
        loader = Loader(shards, batch_size=np.int64(8), seed=np.int32(3), crops_per_clip=np.int64(2))
    other = Loader(shards, batch_size=8, seed=3, crops_per_clip=2)
    assert loader.state_dict() == other.state_dict()
    assert {type(value) for value in loader.state_dict().values()} <= {int, str, type(None)}
    with untyped():
        loader.set_epoch(np.int64(1))
    assert type(loader.state_dict()["epoch"]) is int
    loader.load_state_dict(other.state_dict())
    assert next(iter(loader)).keys == next(iter(other)).keys


@pytest.mark.parametrize("name", ["batch_size", "crops_per_clip", "seed"])
def test_numbers_too_large_for_any_memory_are_refused(shards, name):
    with pytest.raises(UserError, match=rf"^{name} must be at most \d+, got 1180591620717411303424$"):
        Loader(shards, **{name: 2**70})


def test_a_crop_too_large_for_any_memory_is_refused():
    for settings in ({"frames": 2**21}, {"hop_length": 2**31 - 1}):
        with pytest.raises(UserError, match=r"a crop of \d+ frames would read [\d,]+ samples: choose fewer"):
            LogMel(**settings)
    for settings in ({"n_mels": 10**9}, {"n_fft": 10**12}, {"sample_rate": 10**12}):
        with pytest.raises(UserError, match=rf"^{next(iter(settings))} must be at most "):
            LogMel(**settings)


@pytest.mark.parametrize("options", [{"sample_rate": "8"}, {"sample_rate": 8000.5}, {"num_workers": float("nan")}])
@pytest.mark.parametrize("more", [{}, {"label_depth": "1"}, {"label_depth": 1.0}, {"shard_mb": "1"}])
def test_pack_names_the_wrong_number(clips_folder, tmp_path, options, more):
    name = next(iter(more or options))
    with untyped(), pytest.raises(UserError, match=rf"^{name} (must be|is) "):
        pack(clips_folder, tmp_path / "out", **(more or options))
    assert not list(tmp_path.iterdir())


def test_pack_accepts_numbers_of_numpy(tmp_path):
    write_wav(tmp_path / "music/a/1.wav", np.zeros(4000) + 0.1, 8000)
    with untyped():
        manifest = pack(tmp_path / "music", tmp_path / "out", sample_rate=np.int64(8000), num_workers=np.int32(1))
    assert manifest.sample_rate == 8000


@pytest.mark.parametrize("epoch", [1.5, "1", -1, None])
def test_an_epoch_must_be_a_whole_number(shards, epoch):
    with untyped(), pytest.raises(UserError, match=r"^epoch must be "):
        Loader(shards).set_epoch(epoch)


@pytest.mark.parametrize("name", GEOMETRY)
@pytest.mark.parametrize("value", [256.0, -1, "256", None])
def test_a_geometry_names_the_wrong_number(name, value):
    with untyped(), pytest.raises(UserError, match=f"^{name} must be "):
        Geometry(**GEOMETRY | {name: value})


@pytest.mark.parametrize("name", ["sample_rate", "n_fft", "hop_length", "n_mels", "frames"])
@pytest.mark.parametrize("value", [1024.0, 0, "1024"])
def test_features_name_the_wrong_number(name, value):
    with untyped(), pytest.raises(ValueError, match=f"^{name} must be "):
        LogMel(**{name: value})
    if name != "n_mels":
        with untyped(), pytest.raises(ValueError, match=f"^{name} must be "):
            Frames(**{name: value})
    if name in ("sample_rate", "frames"):
        with untyped(), pytest.raises(ValueError, match=f"^{name} must be "):
            RawWaveform(**{name: value})
