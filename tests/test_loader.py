"""A loader yields crops that equal frames of their clips, with labels and weights; wrong options are refused."""

import numpy as np
import pytest
import torch

from gtzan_stream import crops
from gtzan_stream.augment import Gain, TimeStretch
from gtzan_stream.batch import Batch
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.features import LogMel, RawWaveform, whole_clips
from gtzan_stream.loader import Loader
from tests.augment_cases import untyped
from tests.conftest import need, no_synchronisation
from tests.loader_cases import assert_same, collect


def test_batches_have_the_expected_shapes_labels_and_weights(shards):
    loader = Loader(shards, split="three", part="train", batch_size=4, crops_per_clip=3, augment="none")
    batches = list(loader)
    assert len(batches) == len(loader) == -(-7 * 3 // 4)
    for batch in batches:
        features, labels = batch
        assert features.shape == (4, 128, 128)
        assert features.dtype == torch.float32
        assert [loader.labels[label] for label in labels] == [key.split("_")[0] for key in batch.keys]
        assert batch.valid_frames.shape == batch.crops.shape == (4,)
    assert sum(float(batch.weights.sum()) for batch in batches) == 6 * 3  # of 7 clips, one is too short to count


@pytest.mark.parametrize("chunks", ["study", "all"])
def test_evaluation_chunks_are_frames_of_the_clip(shards, clips_folder, chunks):
    import soundfile

    evaluation = Loader(shards, batch_size=4, augment="strong").evaluation(chunks=chunks)
    found = collect(evaluation)
    assert list(found) == list(collect(evaluation))
    for (key, chunk), features in found.items():
        genre, number = key.split("_")
        waveform, _ = soundfile.read(clips_folder / genre / f"{genre}.{number}.wav", dtype="float32")
        frames = whole_clips(LogMel(), torch.from_numpy(waveform)[None])[0, :, 128 * chunk : 128 * (chunk + 1)]
        torch.testing.assert_close(features[:, : frames.shape[1]], frames, atol=1e-5, rtol=1e-4)
        assert not features[:, frames.shape[1] :].any()
    assert len([chunk for key, chunk in found if key == "blues_00000"]) == 3  # 9 s: 388 frames


def test_training_crops_without_augmentation_are_frames_of_the_clip(shards, clips_folder):
    import soundfile

    waveform, _ = soundfile.read(clips_folder / "blues" / "blues.00000.wav", dtype="float32")
    frames = whole_clips(LogMel(), torch.from_numpy(waveform)[None])[0]
    crops = [f for (key, _), f in collect(Loader(shards, augment="none")).items() if key == "blues_00000"]
    starts = []
    for crop in crops:
        difference = [float((crop - frames[:, i : i + 128]).abs().max()) for i in range(frames.shape[1] - 127)]
        starts.append(int(np.argmin(difference)))
        assert min(difference) < 1e-5
    assert len(set(starts)) > 4


def test_short_clips_are_padded_and_have_weight_0_if_more_than_half_is_padding(shards):
    rows = {}
    for batch in Loader(shards, augment="none", crops_per_clip=1):
        for i, key in enumerate(batch.keys):
            rows.setdefault(key, (float(batch.weights[i]), int(batch.valid_frames[i]), batch.features[i]))
    weight, valid, features = rows["jazz_00001"]  # 0.3 s
    assert (weight, valid) == (0, 1 + 6615 // 512)
    assert features[:, :valid].any()
    assert not features[:, valid:].any()
    assert rows["blues_00000"][:2] == (1, 128)


def test_raw_waveform_crops(shards):
    loader = Loader(shards, features=RawWaveform(), augment="study", batch_size=4, crops_per_clip=1)
    batch = next(iter(loader))
    assert batch.features.shape == (4, 1, 66150)
    assert 0.01 < float(batch.features.abs().max()) < 4


def test_damaged_clips_raise_or_are_skipped(tmp_path, clips_folder):
    from gtzan_stream.store.pack import pack

    pack(clips_folder, tmp_path / "shards", codec="flac")
    loader = Loader(tmp_path / "shards", batch_size=4, num_workers=1)
    manifest = loader.manifest
    damaged = manifest.keys[0].as_py()
    with open(manifest.root / manifest.shards[int(manifest.shard[0])].name, "r+b") as file:
        file.seek(int(manifest.member_offset[0]))
        file.write(b"\xff" * int(manifest.member_size[0]))
    with pytest.raises(BadSample, match=damaged):
        list(loader)
    skipping = Loader(tmp_path / "shards", batch_size=4, num_workers=3, on_error="skip", crops_per_clip=2)
    weights = {key: [] for key in manifest.keys.to_pylist()}
    for batch in skipping:
        assert torch.isfinite(batch.features).all()
        for key, weight in zip(batch.keys, batch.weights, strict=True):
            weights[key].append(float(weight))
    assert not any(weights[damaged])
    assert len(skipping.skipped) >= 2
    assert any(weights["blues_00000" if damaged != "blues_00000" else "blues_00001"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 6, "rank": 0, "world_size": 7}, "batch_size must be at least 7, one row a rank, got 6"),
        ({"rank": 1}, "rank and world_size go together"),
        ({"rank": 4, "world_size": 4}, r"rank must be in 0\.\.3, got 4"),
        ({"device": "cdua"}, r"device 'cdua' cannot be used here \(.*cdua.*\): choose a device that torch has"),
        ({"device": 7.5}, r"device 7\.5 cannot be used here"),
        ({"device": "cuda:99"}, r"device 'cuda:99' cannot be used here"),
        ({"num_workers": -1}, "num_workers must be at least 0, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"shuffle_shards": 0}, "shuffle_shards must be at least 1, got 0"),
        ({"crops_per_clip": 0}, "crops_per_clip must be at least 1"),
        ({"on_error": "ignore"}, "on_error must be"),
        ({"augment": "wild"}, "none.*study.*strong.*audiomentations"),
        ({"split": "thre", "part": "train"}, "has no split 'thre': choose one of .*three"),
        ({"split": "three", "part": "training"}, "has no part 'training': choose one of .*train"),
        ({"part": "test"}, r"part 'test' needs a split: .* has .*three \(.*train.*\)"),
        ({"part": "tset"}, "part 'tset' needs a split"),
        ({"split": "three"}, "split 'three' needs a part: one of .*train"),
        ({"split": "thre"}, "has no split 'thre': choose one of .*three"),
        (
            {"augment": lambda waveform: waveform},
            r"Transform of gtzan_stream\.augment, got <lambda>; wrap it in a subcl",
        ),
        ({"augment": torch.nn.Identity()}, "got Identity; wrap it in a subclass: class Mine"),
        ({"augment": Gain}, r"got the class Gain: write Gain\(\)"),
        ({"augment": None}, 'for no augmentation, write augment="none"'),
        ({"features": LogMel}, r"got the class LogMel: write LogMel\(\)"),
        ({"features": lambda waveform: waveform}, "expected an nn.Module with a geometry, such as LogMel"),
        (
            {"features": torch.nn.Identity()},
            "Identity has no geometry; give it a geometry, for STFT frames",
        ),
    ],
)
def test_wrong_options_of_a_loader_are_refused(shards, options, message):
    with untyped(), pytest.raises(UserError, match=message):
        Loader(shards, **options)


def test_the_error_of_a_missing_folder_names_the_commands_that_fill_it(tmp_path):
    with pytest.raises(UserError, match=r"gtzan-stream demo .*gtzan-stream pack"):
        Loader(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["none", "study", "strong", "audiomentations"])
def test_every_recipe_streams_finite_features(shards, name):
    if name == "audiomentations":
        need(name)
    batch: Batch = next(iter(Loader(shards, augment=name, batch_size=8)))
    assert torch.isfinite(batch.features).all()


def test_percussive_crops_equal_the_clips_percussive_part(shards, clips_folder):
    """A crop, augmented from a segment with margins, equals the same frames of the whole augmented clip."""
    import librosa
    import soundfile

    from gtzan_stream.augment import Percussive

    waveform, _ = soundfile.read(clips_folder / "blues" / "blues.00000.wav", dtype="float32")
    frames = whole_clips(LogMel(), torch.from_numpy(librosa.effects.percussive(waveform))[None])[0]
    crops = [f for (key, _), f in collect(Loader(shards, augment=Percussive())).items() if key == "blues_00000"]
    assert len(crops) == 8
    for crop in crops:
        errors = [float((crop - frames[:, i : i + 128]).norm() / crop.norm()) for i in range(frames.shape[1] - 127)]
        assert min(errors[18:-18]) < 1e-3 or min(errors) < 0.05  # near the clip's ends, librosa reflects frames


def test_cuda_equals_the_cpu(shards, reference, cuda):
    for example, features in collect(Loader(shards, batch_size=8, seed=3, crops_per_clip=4, device=cuda)).items():
        torch.testing.assert_close(features.cpu(), reference[example], atol=1e-4, rtol=1e-4)


def test_cuda_never_waits_for_the_host(shards, cuda):
    loader = Loader(shards, batch_size=8, device=cuda, num_workers=0)
    list(loader)  # compiles the kernels
    with no_synchronisation():
        list(loader)


def test_remote_shards_stream_like_local_ones(shards, reference, tmp_path, monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    remote = MemoryFileSystem()
    remote.put(f"{shards}/", "/set/", recursive=True)
    monkeypatch.setenv("GTZAN_STREAM_CACHE", str(tmp_path))
    assert_same(collect(Loader("memory://set", batch_size=8, seed=3, crops_per_clip=4)), reference)
    by_shard = Loader("memory://set", batch_size=8, seed=3, crops_per_clip=4, shuffle_shards=1)
    assert sorted(collect(by_shard)) == sorted(reference)
    monkeypatch.setenv("GTZAN_STREAM_CACHE_GB", "0.0015")
    with pytest.raises(UserError, match=r"GB.*cache.*GB"):
        Loader("memory://set")


def test_clips_shorter_than_a_very_long_crop_count(shards):
    loader = Loader(shards, features=LogMel(frames=1024), augment="none", crops_per_clip=1)
    rows: dict = {}
    for batch in loader:
        for key, *row in zip(batch.keys, batch.weights, batch.valid_frames, strict=True):
            rows.setdefault(key, row)  # fillers come last, so they replace no row
    assert rows["blues_00001"] == [1, 1 + 4 * 22050 // 512]  # 4 s
    assert rows["jazz_00001"][0] == 0  # 0.3 s


def test_an_evaluation_shares_shards_split_and_features(shards):
    loader = Loader(shards, split="three", part="train", batch_size=4, features=LogMel(n_mels=40), num_workers=2)
    evaluation = loader.evaluation("test")
    assert (evaluation.batch_size, evaluation.num_workers) == (4, 2)
    assert evaluation.features is loader.features
    assert evaluation.manifest is loader.manifest
    assert evaluation.labels == loader.labels
    keys = {key for batch in evaluation for key in batch.keys}
    part = loader.manifest.part("three", "test")
    assert keys == {loader.manifest.keys[int(clip)].as_py() for clip in part}


def test_an_evaluation_uses_the_rank_of_its_loader(shards):
    alone = [batch.keys for batch in Loader(shards, batch_size=4).evaluation()]
    second = [batch.keys for batch in Loader(shards, batch_size=4, rank=1, world_size=2).evaluation()]
    assert second == [keys[2:] for keys in alone]


def test_an_evaluation_is_never_augmented(shards):
    for batch in Loader(shards, augment=Gain(2.0, 2.0)).evaluation():
        assert [batch.draw.describe(row) for row in range(len(batch))] == ["unchanged"] * len(batch)


@pytest.mark.parametrize(
    ("split", "part", "chunks", "message"),
    [
        ("three", None, "study", "split 'three' needs a part: one of"),
        ("three", "tset", "study", "has no part 'tset'"),
        (None, "test", "study", "part 'test' needs a split"),
        ("three", "test", "clip", "chunks must be 'study' or 'all', got 'clip'"),
    ],
)
def test_wrong_options_of_an_evaluation_are_refused(shards, split, part, chunks, message):
    loader = Loader(shards, split=split, part="train" if split else None)
    with untyped(), pytest.raises(UserError, match=message):
        loader.evaluation(part, chunks=chunks)


@pytest.mark.parametrize("augment", ["none", TimeStretch(1.5, 1.5)])
def test_padding_is_silence_whatever_the_compression(shards, augment):
    padded = 0
    for batch in Loader(shards, features=LogMel(compression="db"), augment=augment, crops_per_clip=1):
        for features, valid in zip(batch.features, batch.valid_frames, strict=True):
            assert (features[:, valid:] == -100).all()
            assert (features[:, :valid] > -90).any(dim=0).all()
            padded += valid < 128
    assert padded


def test_the_default_augmentation_is_the_studys(shards):
    batches = [next(iter(Loader(shards, num_workers=0, **options))) for options in ({}, {"augment": "study"})]
    assert torch.equal(*(batch.features for batch in batches))


def test_an_evaluation_of_all_chunks_goes_beyond_the_studys_limit(shards, monkeypatch):
    monkeypatch.setattr(crops, "_STUDY_LIMIT", 22_050 * 3)
    loader = Loader(shards, num_workers=0)
    study, every = (loader.evaluation(chunks=chunks) for chunks in ("study", "all"))
    assert len(study) * 16 < 16 + len(loader.manifest) < len(every) * 16
