"""Each benchmark on a few seconds of music, with the least time there is; and the report that is made of them."""

import gc
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("librosa")

import models
from benchmarks import aims, baseline, clips, common, contest, floor, pitch_cost, render, scale, soak, sweep, synthetic
from benchmarks import all as everything
from benchmarks.augment import OPERATIONS, SAME_AS_LIBROSA, contests
from benchmarks.features import contest as log_mels
from benchmarks.sections import SECTIONS
from benchmarks.stages import Bench
from benchmarks.streams import endless, make_loader, rates
from benchmarks.throughput import measure_training, row, table
from gtzan_stream.augment import Gain
from gtzan_stream.dsp.random import hash_keys
from gtzan_stream.errors import UserError
from gtzan_stream.store.manifest import Manifest

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


def test_competitors_take_turns():
    order = []
    seconds = common.compete({name: lambda name=name: order.append(name) for name in "ab"}, CPU, min_s=0.0, rounds=2)
    assert order[4:] == ["a", "b", "b", "a"]  # after the warm-up
    assert {name: len(runs) for name, runs in seconds.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "pitch shift"])
def test_every_library_does_the_same(operation: str, two_clips: torch.Tensor):
    pytest.importorskip("torch_audiomentations")
    (chosen,) = [c for c in contests(two_clips) if c.operation == operation]
    assert len(chosen.contenders) > 1
    rows = contest.hold(chosen, **QUICK)
    assert {r["library"] for r in rows} == {c.library for c in chosen.contenders}
    for r in rows:
        assert r["ms_per_clip"]["min"] > 0
        assert r["library"] != contest.OURS or r["times_ours"]["median"] == 1
        if operation in SAME_AS_LIBROSA and not r["note"]:
            assert r["from_librosa"] < 0.2, r["library"]  # a vocoder in float32 is that far off
        if operation in ("shift", "gain"):
            assert r["error"] < 1e-5, r["library"]
    ours = next(r for r in rows if r["library"] == contest.OURS)
    assert ours["error"] < 2e-3


def test_pitch_contest_has_everybody(two_clips: torch.Tensor):
    pytest.importorskip("torch_audiomentations")
    (chosen,) = [c for c in contests(two_clips[:1, :22050]) if c.operation == "pitch shift"]
    assert len(chosen.contenders) == 5
    for contender in chosen.contenders:
        assert len(contender.run(chosen.waveform, chosen.draw)[0]) == 22050, contender.library


def test_an_error_is_seen(two_clips: torch.Tensor):
    transform = Gain(2.0, 2.0)
    draw = transform.draw(hash_keys(["a", "b"]))
    right = contest.Contender(library="right", run=transform.apply, exact=transform.apply)
    wrong = replace(right, run=lambda waveform, draw: 2.2 * waveform)
    test = contest.Contest(operation="", says="", waveform=two_clips, draw=draw, contenders=[])
    assert contest.error(test, right) == 0
    assert contest.error(test, wrong) == pytest.approx(0.1, rel=1e-3)


def test_log_mels_agree(two_clips: torch.Tensor):
    rows = contest.hold(log_mels(two_clips), **QUICK)
    assert {r["library"] for r in rows} == {contest.OURS, "nnAudio", "torchaudio", "librosa"}
    assert max(r["from_librosa"] for r in rows) < 1e-5


def test_what_is_not_installed_is_named():
    with pytest.raises(UserError, match=r"no_such_library is not installed.*pip install -e '\.\[bench\]'"):
        contest.need("no_such_library")


def test_pitch_costs_are_relative(two_clips: torch.Tensor):
    rows = pitch_cost.measure_costs(two_clips[:1], [-1, 0, 12], **QUICK)
    assert [r["times_cost_at_0"] for r in rows if r["n_steps"] == 0] == [1, 1]
    assert [r["ms_per_clip"] is None for r in rows] == [False, False, False, True, False, False]
    assert len(pitch_cost.table(rows)[1]) == 3


def test_stages(shards: Path):
    bench = Bench(shards, 3, CPU)
    stages = dict(bench.stages())
    assert next(iter(stages)) == "read"
    assert sum(name.startswith("augment") for name in stages) == 8
    for stage in stages.values():
        stage()
    assert bench.augment(Gain())().shape == (3, bench.features.window)


def test_reading_goes_all_over_the_set(shards: Path, monkeypatch: pytest.MonkeyPatch):
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
    loader = make_loader(shards, augment="none", batch_size=16, device=CPU)
    assert len(loader) * 16 >= 8192
    speed = rates(endless(loader), 16, CPU, min_s=0.0, runs=2)
    assert 0 < speed["min"] <= speed["median"] <= speed["max"]


def test_training_is_timed(shards: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("benchmarks.throughput.RUNS", 1)
    monkeypatch.setattr("benchmarks.streams.SETTLE", 0)
    monkeypatch.setattr("models.spec", lambda name: replace(models.REGISTRY[name], batch_size=2))
    alone, plain, study = measure_training(shards, CPU, workers=1, min_s=0.0)
    assert alone["data_wait"] is None
    assert all(0 <= r["data_wait"] <= 1 for r in (plain, study))


def test_sweep_of_codecs(shards: Path, tmp_path: Path):
    packed = {codec: Manifest.open(sweep.repack(shards, tmp_path / codec, codec)) for codec in sweep.CODECS}
    assert packed["wav"].direct.all()
    assert not packed["flac"].direct.any()
    assert packed["wav"].frames.sum() == packed["flac"].frames.sum() == Manifest.open(shards).frames.sum()


def test_soak_sees_growth_and_slowing():
    tenths = [
        soak.row(i, [soak.Sample(seconds=1 + i / 20, host_mb=100.0 * i, device_mb=None)] * 3, crops=16)
        for i in range(1, 11)
    ]
    leaking = soak.flatness(tenths)
    assert (leaking["memory_is_flat"], leaking["speed_is_flat"]) == (False, False)
    assert leaking["host_growth"] == pytest.approx(9)
    steady = soak.flatness([tenths[0]] * 10)
    assert (steady["memory_is_flat"], steady["speed_is_flat"]) == (True, True)
    assert "memory is NOT flat (host +900.0%" in soak.sentence(leaking)


def test_soak_of_a_loader(shards: Path):
    stream = endless(make_loader(shards, augment="none", batch_size=2, device=CPU))
    tenths = list(soak.samples(stream, 100, CPU))
    assert len(tenths) == 10
    assert all(sample.host_mb > 50 for tenth in tenths for sample in tenth)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("augment", [False, True])
def test_baseline_makes_the_same_batches(augment: bool, shards: Path):
    pytest.importorskip("webdataset")
    batches = baseline.theirs(shards, augment=augment, batch_size=4, device=CPU, workers=0)
    features, keys = next(batches)
    batches.close()
    gc.collect()  # webdataset leaves the shard to the garbage collector, which warns of it
    assert features.shape == (4, 128, 128)
    assert set(keys) <= set(Manifest.open(shards).keys.to_pylist())
    ours = make_loader(shards, augment=baseline.our_transform(augment), batch_size=4, device=CPU)
    assert next(iter(ours)).features.shape == features.shape


def test_synthetic_manifests_are_real_ones(tmp_path: Path):
    manifest = Manifest.open(synthetic.write(tmp_path, 250))
    assert len(manifest) == 250
    assert len(manifest.shards) == 6
    assert manifest.direct.all()
    parts = [manifest.part("folds-0", part) for part in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [200, 25, 25]
    assert len(set(manifest.keys.to_pylist())) == len(np.unique(manifest.key_hash)) == 250


def test_start_up_is_probed(tmp_path: Path):
    warm, root = synthetic.write(tmp_path / "warm", 50), synthetic.write(tmp_path / "set", 5000)
    found = scale.probe(root, warm)
    assert found["clips"] == 5000
    assert 0 < found["seconds"] < 5
    assert found["peak_mb"] >= found["kept_mb"] - 1
    scale.draw([{"clips": 5000, **{k: common.spread([found[k]]) for k in ("seconds", "peak_mb")}}], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_resume_is_timed(shards: Path):
    found = scale.measure_resume(shards, CPU, rounds=1)
    assert list(found) == ["batch 0", "batch 10000"]


def test_floor_covers_every_stage(two_clips: torch.Tensor):
    rate = floor.copy_rate(CPU, 8, **QUICK)
    rows = floor.measure(two_clips, rate, **QUICK)
    assert len(rows) == 9
    assert all(r["share"] == pytest.approx(r["floor_us"] / r["us_per_clip"]["median"]) for r in rows)


def test_all_runs_every_program():
    on_gpu = everything.commands(Path("shards"), "cuda", [], cuda=True)
    assert list(on_gpu) == list(everything.PROGRAMS)
    assert all(Path(command[1]).exists() and command[-1] == "cuda" for command in on_gpu.values())
    assert "floor" not in everything.commands(Path("shards"), "cpu", [], cuda=False)
    with pytest.raises(UserError, match="no benchmark 'augmnt'; there are augment, pitch-cost"):
        everything.commands(Path("shards"), "cpu", ["augmnt"], cuda=False)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a README and three results: a loss, an aim met, and an aim missed."""
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    (tmp_path / "README.md").write_text(
        "before\n<!-- figures:throughput -->\nold\n<!-- /figures:throughput -->\n"
        "<!-- figures:costs -->\n<!-- /figures:costs -->\nafter\n"
    )
    (tmp_path / "benchmarks").mkdir()
    rows = []
    for library, ms in {"gtzan-stream": 4.0, "librosa": 10.0, "audiomentations": 2.0}.items():
        rows.append(
            {
                "operation": "time stretch",
                "parameters": "rate 1.1",
                "cores": 1,
                "library": library,
                "ms_per_clip": common.spread([ms]),
                "runs": 1,
                "times_ours": common.spread([ms / 4.0]),
                "error": 1e-4,
                "from_librosa": None,
                "note": "in a hurry" if library == "audiomentations" else "",
            }
        )
    common.save("augment", CPU, {"clips": 1, "clip_s": 30.0, "rounds": 1}, rows)
    stages = [row("read", common.spread([31_000.0, 30_500.0])), row("loader, study", common.spread([500.0]))]
    stages.append(row("training cnn2d, loader, study", common.spread([50.0]), data_wait=0.01))
    common.save("throughput", CPU, {"batch_size": 8, "workers": 1, "crop_s": 3.0}, stages)
    cost = [
        {"library": "gtzan-stream", "n_steps": n, "ms_per_clip": common.spread([1.0 + n]), "times_cost_at_0": 1.0 + n}
        for n in (0, 1)
    ]
    cost += [r | {"library": "torchaudio"} for r in cost]
    common.save("pitch-cost", CPU, {}, cost)
    return tmp_path


def test_report_is_rendered(results: Path):
    documents = render.render(results / "results", results)
    readme, report = documents[results / "README.md"], documents[results / "benchmarks" / "report.md"]
    assert readme.startswith("before\n<!-- figures:throughput -->\nBatches of 8 crops")
    assert "| time stretch | 4.00 | 2.00 | audiomentations |\n" in readme
    assert readme.endswith("<!-- /figures:costs -->\nafter\n")
    assert "old" not in readme
    assert "| read | 30,750 | 30,500 to 31,000 | 91,394 |  |" in readme
    assert "| reading, one core | at least 30,000 crops of 3 s a second | 30,750 (30,500 to 31,000) crops" in report
    assert "| CPU: training waits for data | under 5 % of the time | 1.0% | yes |" in report
    assert "0.50 (0.50 to 0.50) times audiomentations on 1 core | **no** |" in report
    assert "2.00 times at most, at 1 semitones | **no** |" in report
    assert "| GPU: memory | flat over 10,000 batches | not measured |  |" in report
    assert "| time stretch | 1 core | audiomentations | 2.0 | in a hurry |" in report
    assert f"torch {torch.__version__.split('+')[0]}" in report
    assert list(documents) == [results / "README.md", results / "benchmarks" / "report.md"]


def test_check_notices_an_old_report(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(render.render, "__defaults__", (results / "results", results))
    with pytest.raises(render.typer.Exit):
        render.main(check=True)
    assert "README.md differs" in capsys.readouterr().err
    render.main(check=False)
    render.main(check=True)
    stored = results / "results" / "throughput-cpu.json"
    content = json.loads(stored.read_text())
    content["rows"][0]["crops_per_s"]["median"] = 29_000.0
    stored.write_text(json.dumps(content))
    with pytest.raises(render.typer.Exit):
        render.main(check=True)


def test_aims_need_results_that_there_are():
    assert {aim.needs.rsplit("-", 1)[0] for aim in aims.AIMS} <= set(SECTIONS)


def test_tables_have_as_many_cells_as_columns():
    columns, cells = table([row("read", common.spread([1.0]))])
    assert [len(line) for line in cells] == [len(columns)]


def test_documents_show_the_results():
    """What is committed is what the JSON says."""
    for path, text in render.render().items():
        assert path.read_text() == text, f"{path.name} differs from benchmarks/results: run python benchmarks/render.py"
