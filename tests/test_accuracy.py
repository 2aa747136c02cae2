"""The comparisons of benchmarks/accuracy.py: runs are made once, continue after an interruption, and are not mixed."""

import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import models
from benchmarks import accuracy
from benchmarks.lib import accuracy_table, common, comparisons
from gtzan_stream import demo
from gtzan_stream.augment import recipes
from gtzan_stream.errors import UserError
from gtzan_stream.inference import export
from gtzan_stream.normalization import NORMALIZATIONS
from gtzan_stream.store.pack import pack
from gtzan_stream.training import optimizers
from gtzan_stream.training import run as training
from gtzan_stream.training.config import Config
from tests.train_cases import STUDY


class Small(nn.Module):
    """A network of one layer instead of cnn2d: only the bookkeeping is tested."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(128, n_classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features.mean(2))


@pytest.fixture(scope="module")
def run_cnn2d(tmp_path_factory: pytest.TempPathFactory):
    """Return a function that compares cnn2d without and with augmentation, four steps each, and counts the steps."""
    folder = tmp_path_factory.mktemp("accuracy")
    genres, split = demo.write(folder / "music", train=1, valid=1, test=1, clip_s=4.0)
    pack(genres, folder / "shards", splits=split, name="demo")
    step = training.Run.step

    def run(interrupt_at: int | None = None, **options: Any) -> int:
        steps_made = []

        def counted_step(self: training.Run, batch: Any) -> None:
            step(self, batch)
            steps_made.append(batch)
            if len(steps_made) == interrupt_at:
                os.kill(os.getpid(), signal.SIGINT)

        settings = {"names": "cnn2d", "seeds": 1, "steps": "4", "precision": "fp32", "out": folder / "runs"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training.Run, "step", counted_step)
            patch.setattr(common, "RESULTS", folder / "results")
            patch.setattr(export, "write", lambda path, *_, **__: path.touch())
            patch.setitem(models.REGISTRY, "cnn2d", dataclasses.replace(models.spec("cnn2d"), build=Small))
            accuracy.main(**{"shards": folder / "shards", **settings, **options})
        return len(steps_made)

    run.folder = folder
    return run


@pytest.fixture(scope="module")
def steps(run_cnn2d) -> list[int]:
    """Steps of a comparison that was interrupted in its second cell: when it is continued, and when it is repeated."""
    with pytest.raises(training.Interrupted):
        run_cnn2d(interrupt_at=6)
    return [run_cnn2d(), run_cnn2d()]


@pytest.fixture(scope="module")
def result(run_cnn2d, steps) -> dict[str, Any]:
    (path,) = (run_cnn2d.folder / "results").glob("accuracy-models-*.json")
    return json.loads(path.read_text())


def test_no_step_is_repeated(steps):
    assert steps == [2, 0]


def test_results_come_from_the_reports_of_the_runs(run_cnn2d, result):
    assert [(row["row"], row["column"]) for row in result["rows"]] == [("cnn2d", "none"), ("cnn2d", "study")]
    settings = result["settings"]
    assert (settings["steps"], settings["seeds"], settings["precision"]) == ("4", 1, "fp32")
    assert (settings["dataset"], settings["split"]) == ("demo", "demo")
    assert settings["clips"] == {"train": 10, "valid": 10, "test": 10}
    for row in result["rows"]:
        report = json.loads((runs(run_cnn2d) / f"cnn2d-{row['column']}-global-adamw-seed-0/report.json").read_text())
        assert row["steps"][0] == report["training"]["steps"] == 4
        assert row["track_accuracy"] == [report["test"]["track_accuracy"], 0.0]
        assert row["train_accuracy"][0] == report["training"]["last_train_accuracy"]


def runs(run_cnn2d) -> Path:
    return run_cnn2d.folder / "runs" / "demo-demo" / "4-steps"


def test_a_network_may_have_its_own_number_of_steps(run_cnn2d, steps):
    assert comparisons.parse_steps("180,vgg19=360,vgg16=300") == (180, {"vgg19": 360, "vgg16": 300})
    assert comparisons.parse_steps("") == (None, {})
    with pytest.raises(UserError, match="one number"):
        comparisons.parse_steps("180,90")
    assert run_cnn2d(steps="9,cnn2d=1") == 2
    assert run_cnn2d() == 0


@pytest.mark.slow
def test_a_cell_in_two_comparisons_is_trained_once(run_cnn2d, steps):
    n_other = len(NORMALIZATIONS) - 1  # all but global, cnn2d's default, which was trained before
    assert run_cnn2d(compare="normalization") == 4 * n_other


def test_a_cell_keeps_the_commit_that_trained_it(run_cnn2d, result):
    path = runs(run_cnn2d) / "cnn2d-none-global-adamw-seed-0" / accuracy.MACHINE
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "commit": "another"}))
    try:
        assert run_cnn2d() == 0
        (file,) = (run_cnn2d.folder / "results").glob("accuracy-models-*.json")
        assert json.loads(file.read_text())["machine"]["commit"] == f"another, {json.loads(before)['commit']}"
    finally:
        path.write_text(before)


def test_a_cell_that_diverges_does_not_stop_the_others(run_cnn2d, monkeypatch):
    loss_of, factors = training.loss_of, iter([torch.nan])

    def first_is_nan(*of: Any, **how: Any) -> torch.Tensor:
        return loss_of(*of, **how) * next(factors, 1.0)

    monkeypatch.setattr(training, "loss_of", first_is_nan)
    with pytest.raises(
        UserError, match=r"1 runs diverged, .*: cnn2d-none-global-adamw-seed-0: the loss of epoch 1 is not finite"
    ):
        run_cnn2d(steps="1", out=run_cnn2d.folder / "diverging")
    (path,) = (run_cnn2d.folder / "results").glob("accuracy-models-*.json")
    assert [row["column"] for row in json.loads(path.read_text())["rows"]] == ["study"]


def test_finished_cells_keep_only_their_reports(run_cnn2d, steps):
    files = {path.name for path in (runs(run_cnn2d) / "cnn2d-study-global-adamw-seed-0").iterdir()}
    assert files >= {"config.json", "report.json", "report.html", "metrics.jsonl"}
    assert not [name for name in files if ".pt" in name]


def test_a_picture_is_drawn(run_cnn2d, result):
    (path,) = (run_cnn2d.folder / "results").glob("accuracy-models-*.png")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert path.stat().st_size > 5_000


def test_the_section_of_the_report_states_its_settings(result):
    text = accuracy_table.section(result)
    for part in ("`demo`, split `demo`: 10 clips to train on, 10 to validate, 10 to test", "steps as stated", "fp32"):
        assert part in text
    assert "cannot be compared with ours here" in text
    assert "95 % interval" in text
    assert "| cnn2d | study | 95 % | 77 % | 83.39 % | 4 |" in text
    assert "±" not in text  # one seed has no spread
    assert f"](results/accuracy-models-{'cpu' if result['machine']['device'] == 'cpu' else 'gpu'}.png)" in text


def test_full_gtzan_trained_to_the_end_is_comparable(result):
    whole = {**result["settings"], "split": "study", "clips": accuracy_table.STUDY_CLIPS, "steps": "", "seeds": 3}
    text = accuracy_table.section({**result, "settings": whole})
    assert "cannot be compared" not in text
    assert "on the same clips" in text
    assert "train.py's number of steps" in text
    assert "% ± 0.0" in text


def test_cells_with_other_settings_or_clips_are_refused(run_cnn2d, steps):
    with pytest.raises(UserError, match=r"seed-0 was trained with --precision fp32, not bf16: remove .* another --out"):
        run_cnn2d(precision="bf16")
    report = runs(run_cnn2d) / "cnn2d-none-global-adamw-seed-0" / "report.json"
    before = report.read_text()
    content = json.loads(before)
    content["data"]["digest"] = "another"
    report.write_text(json.dumps(content))
    try:
        with pytest.raises(UserError, match="seed-0 was trained on other clips than those of"):
            run_cnn2d()
    finally:
        report.write_text(before)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"compare": "colours"}, "no comparison 'colours'; there are models, normalization, optimizer, augmentation"),
        ({"names": "cnn2d,vgg12"}, "no network 'vgg12'; there are cnn1d"),
        ({"steps": "180,vgg12=3"}, "no network 'vgg12'; there are cnn1d"),
        (
            {"steps": "many"},
            "--steps takes a number above 0, and other numbers by network, such as 180,vgg19=360; got 'many'",
        ),
    ],
)
def test_wrong_options_give_a_one_line_error(run_cnn2d, options, sentence):
    with pytest.raises(UserError, match=sentence):
        run_cnn2d(**options)


def test_the_published_table_is_complete():
    published = accuracy_table.published()
    assert set(published) == {(name, augment) for name in STUDY for augment in ("none", "study")}
    assert published["vgg11", "study"] == {
        "model": "vgg11", "augment": "study", "train": "0.99", "valid": "0.76", "test": ""
    }  # fmt: skip
    augmented = [float(row["valid"]) for (_, augment), row in published.items() if augment == "study"]
    assert sum(augmented) == pytest.approx(8.87)


@pytest.mark.parametrize(
    ("compare", "rows"),
    [
        ("models", models.names()),
        ("normalization", ["none", "global", "mel", "clip", "batch"]),
        ("optimizer", optimizers.names()),
        ("augmentation", ["none", "study", "strong", *recipes.study_names()]),
    ],
)
def test_a_comparison_has_all_its_cells(compare, rows):
    cells = list(comparisons.COMPARISONS[compare](comparisons.networks("", compare)))
    assert list(dict.fromkeys(cell.row for cell in cells)) == rows
    assert len({(cell.row, cell.column) for cell in cells}) == len(cells)
    assert len({Config(**cell.options) for cell in cells}) == len(cells)
