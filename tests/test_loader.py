"""The loader's promises: equal samples whatever the workers, ranks and resumes; crops that are frames of their clip."""

import gc
import json
import multiprocessing
import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from gtzan_stream.batches import Batch
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.features import LogMel, RawWaveform
from gtzan_stream.loader import Loader
from tests.conftest import no_synchronisation, write_wav


def collect(*loaders: Loader) -> dict[tuple[str, int], torch.Tensor]:
    """Features by sample, in the order of the global batches, put together from all ranks; fillers left out."""
    out = {}
    for batches in zip(*loaders, strict=True):
        for row in range(len(batches[0].keys)):
            for batch in batches:
                if batch.weights[row]:
                    out[batch.keys[row], int(batch.crops[row])] = batch.features[row]
    return out


def assert_same(a: dict, b: dict) -> None:
    assert list(a) == list(b)
    for sample, features in a.items():
        assert torch.equal(features, b[sample]), sample


@pytest.fixture(scope="module")
def reference(shards: Path) -> dict:
    return collect(Loader(shards, batch_size=8, workers=0, seed=3, crops_per_clip=4))


def test_batch_has_what_it_says(shards):
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


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(shards, reference, workers):
    assert_same(collect(Loader(shards, batch_size=8, workers=workers, seed=3, crops_per_clip=4)), reference)


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_change_nothing(shards, reference, world_size):
    ranks = [
        Loader(shards, batch_size=8, seed=3, crops_per_clip=4, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert_same(collect(*ranks), reference)


def test_batch_size_changes_no_sample(shards, reference):
    other = collect(Loader(shards, batch_size=3, workers=0, seed=3, crops_per_clip=4))
    assert_same(other, reference)


@pytest.mark.parametrize("stop", [0, 1, 3, 5])
def test_resume_at_another_rank_count_continues_exactly(shards, reference, stop):
    first = Loader(shards, batch_size=8, seed=3, crops_per_clip=4, workers=1)
    iterator = iter(first)
    seen = [next(iterator) for _ in range(stop)]
    state = json.loads(json.dumps(first.state_dict()))
    iterator.close()
    ranks = []
    for rank in range(2):
        ranks.append(Loader(shards, batch_size=8, seed=3, crops_per_clip=4, rank=rank, world_size=2, workers=3))
        ranks[-1].load_state_dict(state)
        ranks[-1].set_epoch(state["epoch"])
    n_seen = sum(int(batch.weights.sum()) for batch in seen)
    rest = collect(*ranks)
    assert list(rest) == list(reference)[n_seen:]
    assert all(torch.equal(rest[sample], reference[sample]) for sample in rest)


def test_a_state_after_the_last_batch_leads_to_the_next_epoch(shards):
    loader = Loader(shards, batch_size=8, seed=3)
    for _ in loader:
        state = loader.state_dict()
    other = Loader(shards, batch_size=8, seed=3)
    other.load_state_dict(state)
    assert other.epoch == loader.epoch == 1
    assert_same(collect(other), collect(loader))


def test_epochs_differ_and_return(shards, reference):
    loader = Loader(shards, batch_size=8, seed=3, crops_per_clip=4)
    collect(loader)
    second = collect(loader)
    assert list(second) != list(reference)
    assert not any(torch.equal(second[s], reference[s]) for s in second if s[0] != "jazz_00001")
    loader.set_epoch(0)
    assert_same(collect(loader), reference)


def test_break_starts_the_epoch_again_in_the_same_thread(shards, reference):
    before = set(threading.enumerate())
    loader = Loader(shards, batch_size=8, seed=3, crops_per_clip=4, workers=1)

    def threads():
        return [thread for thread in set(threading.enumerate()) - before if "prefetch" in thread.name]

    for _ in loader:
        break
    (thread,) = threads()
    assert_same(collect(loader), reference)
    assert threads() == [thread]
    del loader
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()


FORKED = """
import multiprocessing, sys, torch
from gtzan_stream.loader import Loader
torch.set_num_threads(1)  # torch's own threads do not survive a fork
loader = Loader(sys.argv[1], batch_size=8, workers=2)
begun = iter(loader)
keys = next(begun).keys  # every thread of the parent exists before the fork
def child(queue):
    begun.close()
    queue.put(next(iter(loader)).keys)
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(queue,))
process.start()
assert queue.get(timeout=60) == keys
process.join(30)
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_child_makes_batches_of_its_own(shards):
    subprocess.run([sys.executable, "-c", FORKED, str(shards)], check=True, timeout=100)


@pytest.mark.parametrize("eval", ["study", "clip"])
def test_evaluation_chunks_are_frames_of_the_clip(shards, clips_folder, eval):
    import soundfile

    loader = Loader(shards, batch_size=4, eval=eval)
    chunks = collect(loader)
    assert list(chunks) == list(collect(loader))
    for (key, chunk), features in chunks.items():
        genre, number = key.split("_")
        waveform, _ = soundfile.read(clips_folder / genre / f"{genre}.{number}.wav", dtype="float32")
        frames = LogMel().clip(torch.from_numpy(waveform)[None])[0, :, 128 * chunk : 128 * (chunk + 1)]
        torch.testing.assert_close(features[:, : frames.shape[1]], frames, atol=1e-5, rtol=1e-4)
        assert not features[:, frames.shape[1] :].any()
    assert len([chunk for key, chunk in chunks if key == "blues_00000"]) == 3  # 9 s: 388 frames


def test_untouched_training_crops_are_frames_of_the_clip(shards, clips_folder):
    import soundfile

    waveform, _ = soundfile.read(clips_folder / "blues" / "blues.00000.wav", dtype="float32")
    frames = LogMel().clip(torch.from_numpy(waveform)[None])[0]
    crops = [f for (key, _), f in collect(Loader(shards, augment="none")).items() if key == "blues_00000"]
    starts = []
    for crop in crops:
        difference = [float((crop - frames[:, i : i + 128]).abs().max()) for i in range(frames.shape[1] - 127)]
        starts.append(int(np.argmin(difference)))
        assert min(difference) < 1e-5
    assert len(set(starts)) > 4


def test_short_clips_are_padded_and_weigh_nothing_when_mostly_padding(shards):
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


def test_rows_of_a_wrong_rate_are_named(tmp_path, rng):
    from gtzan_stream.store.pack import pack

    write_wav(tmp_path / "music" / "pop" / "a.wav", 0.1 * rng.standard_normal(44100 * 4), 44100)
    pack(tmp_path / "music", tmp_path / "shards", sample_rate=44100)
    with pytest.raises(BadSample, match=r"pop_a: expected 22050 Hz, got 44100; pack again with --sample-rate 22050"):
        Loader(tmp_path / "shards")
    loader = Loader(tmp_path / "shards", on_error="skip", crops_per_clip=1, batch_size=2)
    (batch,) = loader
    assert batch.weights.tolist() == [0, 0]
    assert len(loader.skipped) == 2
    assert "pop_a" in loader.skipped[0]


def test_damaged_members_are_named_or_skipped(tmp_path, clips_folder):
    from gtzan_stream.store.pack import pack

    pack(clips_folder, tmp_path / "shards", codec="flac")
    loader = Loader(tmp_path / "shards", batch_size=4, workers=1)
    manifest = loader.manifest
    victim = manifest.keys[0].as_py()
    with open(manifest.root / manifest.shards[int(manifest.shard[0])].name, "r+b") as file:
        file.seek(int(manifest.member_offset[0]))
        file.write(b"\xff" * int(manifest.member_size[0]))
    with pytest.raises(BadSample, match=victim):
        list(loader)
    skipping = Loader(tmp_path / "shards", batch_size=4, workers=3, on_error="skip", crops_per_clip=2)
    weights = {key: [] for key in manifest.keys.to_pylist()}
    for batch in skipping:
        assert torch.isfinite(batch.features).all()
        for key, weight in zip(batch.keys, batch.weights, strict=True):
            weights[key].append(float(weight))
    assert not any(weights[victim])
    assert len(skipping.skipped) >= 2
    assert any(weights["blues_00000" if victim != "blues_00000" else "blues_00001"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 6, "rank": 0, "world_size": 4}, "divisible by the 4 ranks, got 6"),
        ({"rank": 1}, "rank and world_size go together"),
        ({"rank": 4, "world_size": 4}, r"rank must be in 0\.\.3, got 4"),
        ({"workers": -1}, "workers must be 0 or more"),
        ({"crops_per_clip": 0}, "crops_per_clip must be at least 1"),
        ({"on_error": "ignore"}, "on_error must be"),
        ({"eval": "all"}, "eval must be"),
        ({"augment": "wild"}, "none.*study.*strong.*audiomentations"),
        ({"split": "thre"}, "three"),
        ({"split": "three", "part": "training"}, "train"),
    ],
)
def test_wrong_options_get_one_sentence(shards, options, message):
    with pytest.raises(UserError, match=message):
        Loader(shards, **options)


def test_a_missing_folder_names_the_commands(tmp_path):
    with pytest.raises(UserError, match=r"gtzan-stream demo .*gtzan-stream pack"):
        Loader(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 4}, "batch_size=4, this loader has 8"),
        ({"manifest_digest": "0"}, "other clips than those of"),
        ({"split": "three"}, "split='three'"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(shards, change, message):
    loader = Loader(shards, batch_size=8)
    with pytest.raises(UserError, match=message):
        loader.load_state_dict(loader.state_dict() | change)


def test_every_recipe_streams_finite_features(shards):
    for name in ("none", "study", "strong", "audiomentations"):
        batch: Batch = next(iter(Loader(shards, augment=name, batch_size=8)))
        assert torch.isfinite(batch.features).all(), name


def test_percussive_crops_equal_the_clips_percussive_part(shards, clips_folder):
    """The augmented crop of a window with its margin equals the same frames of the whole augmented clip."""
    import librosa
    import soundfile

    from gtzan_stream.augment import Percussive

    waveform, _ = soundfile.read(clips_folder / "blues" / "blues.00000.wav", dtype="float32")
    frames = LogMel().clip(torch.from_numpy(librosa.effects.percussive(waveform))[None])[0]
    crops = [f for (key, _), f in collect(Loader(shards, augment=Percussive())).items() if key == "blues_00000"]
    assert len(crops) == 8
    for crop in crops:
        errors = [float((crop - frames[:, i : i + 128]).norm() / crop.norm()) for i in range(frames.shape[1] - 127)]
        assert min(errors[18:-18]) < 1e-3 or min(errors) < 0.05  # nearer the clip's ends librosa reflects frames


def test_cuda_equals_the_cpu(shards, reference, cuda):
    for sample, features in collect(Loader(shards, batch_size=8, seed=3, crops_per_clip=4, device=cuda)).items():
        torch.testing.assert_close(features.cpu(), reference[sample], atol=1e-4, rtol=1e-4)


def test_cuda_never_waits_for_the_host(shards, cuda):
    loader = Loader(shards, batch_size=8, device=cuda, workers=0)
    list(loader)  # compiles
    with no_synchronisation():
        list(loader)


def test_remote_shards_stream_like_local_ones(shards, reference, tmp_path, monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    remote = MemoryFileSystem()
    remote.put(f"{shards}/", "/set/", recursive=True)
    monkeypatch.setenv("GTZAN_STREAM_CACHE", str(tmp_path))
    assert_same(collect(Loader("memory://set", batch_size=8, seed=3, crops_per_clip=4)), reference)
    windowed = Loader("memory://set", batch_size=8, seed=3, crops_per_clip=4, shuffle_window=1)
    assert sorted(collect(windowed)) == sorted(reference)
    monkeypatch.setenv("GTZAN_STREAM_CACHE_GB", "0.0015")
    with pytest.raises(UserError, match=r"GB.*cache.*GB"):
        Loader("memory://set")


def test_a_whole_clip_network_counts_clips_that_are_shorter_than_its_input(shards):
    loader = Loader(shards, features=LogMel(frames=1024), augment="none", crops_per_clip=1)
    rows: dict = {}
    for batch in loader:
        for key, *row in zip(batch.keys, batch.weights, batch.valid_frames, strict=True):
            rows.setdefault(key, row)  # a filler repeats one of them
    assert rows["blues_00001"] == [1, 1 + 4 * 22050 // 512]  # 4 s
    assert rows["jazz_00001"][0] == 0  # 0.3 s


def test_inference_mode_of_the_consumer_does_no_harm(shards, reference):
    loader = Loader(shards, batch_size=8, workers=0, seed=3, crops_per_clip=4)
    with torch.inference_mode():
        batch = next(iter(loader))
    assert not batch.features.is_inference()
    row = next(row for row, weight in enumerate(batch.weights) if weight)
    assert torch.equal(batch.features[row], reference[batch.keys[row], int(batch.crops[row])])


def test_who_counts_batches_gets_epoch_after_epoch(shards, reference):
    loader = Loader(shards, batch_size=8, seed=3, crops_per_clip=4)
    epochs = [[batch.keys for batch in islice(loader, len(loader))] for _ in range(2)]
    assert loader.epoch == 2
    assert epochs[0] != epochs[1]
    loader.set_epoch(0)
    assert_same(collect(loader), reference)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_iteration_keeps_its_epoch_whatever_is_set_meanwhile(shards, reference, workers):
    loader = Loader(shards, batch_size=8, seed=3, crops_per_clip=4, workers=workers)
    seen = {}
    for batch in loader:
        loader.set_epoch(7)
        seen |= {(key, int(crop)): f for key, crop, f in zip(batch.keys, batch.crops, batch.features, strict=True)}
    assert all(torch.equal(seen[sample], reference[sample]) for sample in reference)
