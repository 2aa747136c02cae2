"""Each benchmark on a few seconds of music, as briefly as possible."""

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models
from benchmarks import baseline, floor, pitch_cost, scale, scaling, soak
from benchmarks.augment import OPERATIONS, SAME_AS_LIBROSA, contests
from benchmarks.features import contest as log_mels
from benchmarks.lib import clips, common, contest, figures, sweep, synthetic, tables
from benchmarks.lib.rates import endless, make_loader, rates
from benchmarks.lib.stages import Bench
from benchmarks.throughput import measure_loaders, measure_training
from gtzan_stream.augment import Gain
from gtzan_stream.dsp.random import hash_keys
from gtzan_stream.errors import UserError
from gtzan_stream.store.manifest import Manifest
from tests.conftest import need

CPU = torch.device("cpu")
QUICK: dict[str, Any] = {"min_s": 0.0, "rounds": 1}


@pytest.fixture(scope="module")
def two_clips(shards: Path) -> torch.Tensor:
    return clips.load(shards, 2, 1.5)


def test_clips_are_cut_and_repeated(shards: Path):
    waveform = clips.load(shards, 30, 8.0)
    assert waveform.shape == (30, 8 * 22050)
    assert 0 < waveform.abs().max() <= 1
    manifest = Manifest.open(shards)
    shortest = int(np.argmin(manifest.frames[np.linspace(0, len(manifest) - 1, 30).astype(int)]))
    frames = int(manifest.frames.min())
    assert torch.equal(waveform[shortest, :frames], waveform[shortest, frames : 2 * frames])


def test_libraries_are_timed_in_turns():
    order = []
    seconds = common.compete({name: lambda name=name: order.append(name) for name in "ab"}, CPU, min_s=0.0, rounds=2)
    assert order[4:] == ["a", "b", "b", "a"]  # after the warm-up
    assert {name: len(runs) for name, runs in seconds.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "pitch shift"])
def test_all_libraries_compute_the_same(operation: str, two_clips: torch.Tensor):
    need("torch_audiomentations")
    (chosen,) = [c for c in contests(two_clips) if c.operation == operation]
    assert len(chosen.contenders) > 1
    rows = contest.hold(chosen, **QUICK)
    assert {r["library"] for r in rows} == {c.library for c in chosen.contenders}
    for r in rows:
        assert r["ms_per_clip"]["min"] > 0
        assert r["library"] != contest.OURS or r["times_ours"]["median"] == 1
        if operation in SAME_AS_LIBROSA and not r["note"]:
            assert r["from_librosa"] < 0.2, r["library"]
        if operation in ("shift", "gain"):
            assert r["error"] < 1e-5, r["library"]
    ours = next(r for r in rows if r["library"] == contest.OURS)
    assert ours["error"] < 2e-3


def test_pitch_contest_has_all_libraries(two_clips: torch.Tensor):
    need("torch_audiomentations")
    (chosen,) = [c for c in contests(two_clips[:1, :22050]) if c.operation == "pitch shift"]
    assert len(chosen.contenders) == 5
    for contender in chosen.contenders:
        assert len(contender.run(chosen.waveform, chosen.draw)[0]) == 22050, contender.library


def test_an_error_of_a_library_is_measured(two_clips: torch.Tensor):
    transform = Gain(2.0, 2.0)
    draw = transform.draw(hash_keys(["a", "b"]))
    correct = contest.Contender(library="correct", run=transform.apply, exact=transform.apply)
    wrong = replace(correct, run=lambda waveform, draw: 2.2 * waveform)
    test = contest.Contest(operation="", parameters="", waveform=two_clips, draw=draw, contenders=[])
    assert contest.error(test, correct) == 0
    assert contest.error(test, wrong) == pytest.approx(0.1, rel=1e-3)


def test_log_mels_agree(two_clips: torch.Tensor):
    need("nnAudio")
    rows = contest.hold(log_mels(two_clips), **QUICK)
    assert {r["library"] for r in rows} == {contest.OURS, "nnAudio", "torchaudio", "librosa"}
    assert max(r["from_librosa"] for r in rows) < 1e-5


def test_a_library_that_is_not_installed_is_named():
    with pytest.raises(UserError, match=r"no_such_library is not installed.*pip install -e '\.\[bench\]'"):
        contest.need("no_such_library")


def test_pitch_costs_are_relative(two_clips: torch.Tensor):
    rows = pitch_cost.measure_costs(two_clips[:1], [-1, 0, 12], **QUICK)
    assert [r["times_cost_at_0"] for r in rows if r["n_steps"] == 0] == [1, 1]
    assert [r["ms_per_clip"] is None for r in rows] == [False, False, False, True, False, False]
    assert len(tables.pitch_cost(rows)[1]) == 3


def test_stages(shards: Path):
    bench = Bench(shards, 3, CPU)
    stages = dict(bench.stages())
    assert next(iter(stages)) == "read"
    assert sum(name.startswith("augment") for name in stages) == 8
    for stage in stages.values():
        stage()
    assert bench.augment(Gain())().shape == (3, bench.geometry.read_length)


def test_reading_is_spread_over_the_set(shards: Path, monkeypatch: pytest.MonkeyPatch):
    bench = Bench(shards, 8, CPU)
    seen = []
    monkeypatch.setattr(bench.reader, "read", lambda clip, start, out: seen.append((clip, start)))
    read = bench.read()
    seen.clear()
    read()
    read()
    assert len(seen) == 16
    assert len(set(seen)) > 8


def test_loaders_are_timed(shards: Path):
    with make_loader(shards, augment="none", batch_size=16, device=CPU) as loader:
        assert len(loader) * 16 >= 8192
        speed = rates(endless(loader), 16, CPU, min_s=0.0, runs=2)
    assert 0 < speed["min"] <= speed["median"] <= speed["max"]


def test_each_recipe_is_timed(shards: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("benchmarks.throughput.RUNS", 1)
    monkeypatch.setattr("benchmarks.lib.rates.SETTLE", 0)
    monkeypatch.setattr("benchmarks.throughput.RECIPES", ("none", "study"))
    rows = list(measure_loaders(shards, 2, CPU, num_workers=1, min_s=0.0))
    assert [r["stage"] for r in rows] == ["loader, none", "loader, study"]


def test_training_is_timed(shards: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("benchmarks.throughput.RUNS", 1)
    monkeypatch.setattr("benchmarks.lib.rates.SETTLE", 0)
    monkeypatch.setattr("models.spec", lambda name: replace(models.REGISTRY[name], batch_size=2))
    alone, plain, study = measure_training(shards, CPU, num_workers=1, min_s=0.0)
    assert alone["data_wait"] is None
    assert all(0 <= r["data_wait"] <= 1 for r in (plain, study))


def test_sweep_varies_one_setting_at_a_time(shards: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("benchmarks.lib.rates.SETTLE", 0)
    for name, values in {"WORKERS": (0,), "BATCHES": (2,), "FRAMES": (64, 128), "CODECS": ("flac",)}.items():
        monkeypatch.setattr(sweep, name, values)
    rows = list(sweep.measure(shards, CPU, min_s=0.0, batch_size=2, num_workers=1, runs=1))
    changed = [("workers", 0), ("batch", 2), ("frames in a crop", 64), ("frames in a crop", 128), ("codec", "flac")]
    assert [(r["setting"], r["value"]) for r in rows] == changed
    for r in rows:
        crop_s = 512 * (64 if r["value"] == 64 else 128) / 22050
        assert r["times_real_time"]["median"] == pytest.approx(r["crops_per_s"]["median"] * crop_s)


def test_sweep_of_codecs(shards: Path, tmp_path: Path):
    packed = {codec: Manifest.open(sweep.repack(shards, tmp_path / codec, codec)) for codec in sweep.CODECS}
    assert packed["wav"].direct.all()
    assert not packed["flac"].direct.any()
    assert packed["wav"].frames.sum() == packed["flac"].frames.sum() == Manifest.open(shards).frames.sum()


def test_soak_detects_growing_memory_and_falling_speed():
    tenths = [
        soak.row(i, [soak.Measurement(seconds=1 + i / 20, host_mb=100.0 * i, device_mb=None)] * 3, crops=16)
        for i in range(1, 11)
    ]
    leaking = soak.flatness(tenths)
    assert (leaking["memory_is_flat"], leaking["speed_is_flat"]) == (False, False)
    assert leaking["host_growth"] == pytest.approx(9)
    steady = soak.flatness([tenths[0]] * 10)
    assert (steady["memory_is_flat"], steady["speed_is_flat"]) == (True, True)
    assert "memory is NOT flat (host +900.0%" in figures.flatness(leaking)


def test_soak_detects_memory_that_grows_outside_of_torch(monkeypatch):
    free = iter(range(9000, 0, -1000))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (next(free) * 10**6, 10_000 * 10**6))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 600 * 10**6)
    assert soak.device_memory_mb(CPU) == (None, None)
    readings = [soak.device_memory_mb(torch.device("cuda")) for _ in range(2)]
    assert readings == [(600, 400), (600, 1400)]
    found = soak.flatness([soak.row(i, [soak.Measurement(1, 100, *reading)], 16) for i, reading in enumerate(readings)])
    assert not found["memory_is_flat"]
    assert "on the GPU outside of torch +250.0%)" in figures.flatness(found)


def test_soak_of_a_loader(shards: Path):
    with make_loader(shards, augment="none", batch_size=2, device=CPU) as loader:
        tenths = list(soak.measure(endless(loader), 100, CPU))
    assert len(tenths) == 10
    assert all(found.host_mb > 50 for tenth in tenths for found in tenth)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("augment", [False, True])
def test_baseline_makes_the_same_batches(augment: bool, shards: Path):
    need("audiomentations")
    batches = baseline.theirs(shards, augment=augment, batch_size=4, device=CPU, num_workers=0)
    features, keys = next(batches)
    batches.close()
    gc.collect()  # webdataset does not close the shard; close it now, while the warning is ignored
    assert features.shape == (4, 128, 128)
    assert set(keys) <= set(Manifest.open(shards).keys.to_pylist())
    with make_loader(shards, augment=baseline.our_transform(augment), batch_size=4, device=CPU) as ours:
        assert next(iter(ours)).features.shape == features.shape


def test_synthetic_manifests_can_be_opened(tmp_path: Path):
    manifest = Manifest.open(synthetic.write(tmp_path, 250))
    assert len(manifest) == 250
    assert len(manifest.shards) == 6
    assert manifest.direct.all()
    parts = [manifest.part("folds-0", part) for part in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [200, 25, 25]
    assert len(set(manifest.keys.to_pylist())) == len(np.unique(manifest.key_hash)) == 250


def test_start_up_is_measured(tmp_path: Path):
    warm, root = synthetic.write(tmp_path / "warm", 50), synthetic.write(tmp_path / "set", 5000)
    found = scale.probe(root, warm)
    assert found["clips"] == 5000
    assert found["seconds"] > 0
    assert found["peak_mb"] >= found["kept_mb"] - 1
    scale.plot([{"clips": 5000, **{k: common.spread([found[k]]) for k in ("seconds", "peak_mb")}}], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_resume_is_timed(shards: Path):
    found = scale.measure_resume(shards, CPU, rounds=1)
    assert list(found) == ["batch 0", "batch 10000"]


def test_the_model_of_more_cores_ends_where_the_lock_is_always_held():
    on_one = scaling.modelled(50.0, 5.0, 1)
    assert on_one == 1e6 / 50
    assert on_one < scaling.modelled(50.0, 5.0, 8) < scaling.modelled(50.0, 5.0, 64) == 1e6 / 5


def test_the_sampler_is_found_beside_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scaling.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="py-spy is not installed"):
        scaling.py_spy()
    (tmp_path / "py-spy").touch(mode=0o755)
    assert scaling.py_spy() == str(tmp_path / "py-spy")


def test_floor_covers_every_stage(two_clips: torch.Tensor):
    rate = floor.copy_rate(CPU, 8, **QUICK)
    rows = floor.measure(two_clips, rate, **QUICK)
    assert len(rows) == 9
    assert all(r["share"] == pytest.approx(r["floor_us"] / r["us_per_clip"]["median"]) for r in rows)
