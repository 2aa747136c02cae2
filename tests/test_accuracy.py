"""The study's comparisons: runs are made once, continue where they stopped, and are not mixed with others."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import models
from benchmarks import accuracy
from benchmarks.lib import accuracy_table, common, comparisons
from gtzan_stream import demo
from gtzan_stream.augment import recipes
from gtzan_stream.errors import UserError
from gtzan_stream.normalization import NORMALIZATIONS
from gtzan_stream.store.pack import pack
from gtzan_stream.training import optimizers
from gtzan_stream.training import run as training
from gtzan_stream.training.config import Config
from tests.train_cases import STUDY


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory):
    """Compare cnn2d without and with augmentation, four steps each; return how many steps were made."""
    folder = tmp_path_factory.mktemp("accuracy")
    genres, split = demo.write(folder / "music", train=1, valid=1, test=1, clip_s=4.0)
    pack(genres, folder / "shards", splits=split, name="demo")
    step = training.Run.step

    def run(interrupt_at: int | None = None, **options: Any) -> int:
        made = []

        def counted(self: training.Run, batch: Any) -> None:
            step(self, batch)
            made.append(batch)
            if len(made) == interrupt_at:
                os.kill(os.getpid(), signal.SIGINT)

        settings = {"names": "cnn2d", "seeds": 1, "steps": "4", "precision": "fp32", "out": folder / "runs"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training.Run, "step", counted)
            patch.setattr(common, "RESULTS", folder / "results")
            accuracy.main(**{"shards": folder / "shards", **settings, **options})
        return len(made)

    run.folder = folder
    return run


@pytest.fixture(scope="module")
def steps(go) -> list[int]:
    """Steps of a comparison that was interrupted in its second cell, continued, and asked for again."""
    with pytest.raises(training.Interrupted):
        go(interrupt_at=6)
    return [go(), go()]


@pytest.fixture(scope="module")
def result(go, steps) -> dict[str, Any]:
    (path,) = (go.folder / "results").glob("accuracy-models-*.json")
    return json.loads(path.read_text())


def test_no_step_is_made_twice(steps):
    assert steps == [2, 0]


def test_the_result_is_that_of_the_reports(go, result):
    assert [(row["row"], row["column"]) for row in result["rows"]] == [("cnn2d", "none"), ("cnn2d", "study")]
    settings = result["settings"]
    assert (settings["steps"], settings["seeds"], settings["precision"]) == ("4", 1, "fp32")
    assert (settings["dataset"], settings["split"]) == ("demo", "demo")
    assert settings["clips"] == {"train": 10, "valid": 10, "test": 10}
    for row in result["rows"]:
        report = json.loads((runs(go) / f"cnn2d-{row['column']}-global-adamw-seed-0" / "report.json").read_text())
        assert row["steps"][0] == report["training"]["steps"] == 4
        assert row["track_accuracy"] == [report["test"]["track_accuracy"], 0.0]
        assert row["train_accuracy"][0] == report["training"]["last_train_accuracy"]


def runs(go) -> Path:
    return go.folder / "runs" / "demo-demo" / "4-steps"


def test_a_network_may_have_a_length_of_its_own(go, steps):
    assert comparisons.parse_steps("180,vgg19=360,vgg16=300") == (180, {"vgg19": 360, "vgg16": 300})
    assert comparisons.parse_steps("") == (None, {})
    with pytest.raises(UserError, match="one number"):
        comparisons.parse_steps("180,90")
    assert go(steps="9,cnn2d=1") == 2
    assert go() == 0


def test_a_cell_of_two_comparisons_is_trained_once(go, steps):
    assert go(compare="normalization") == 4 * (len(NORMALIZATIONS) - 1)  # all but global, which is cnn2d's own


def test_a_cell_knows_where_it_was_trained(go, result):
    path = runs(go) / "cnn2d-none-global-adamw-seed-0" / accuracy.MACHINE
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "commit": "another"}))
    try:
        assert go() == 0
        (file,) = (go.folder / "results").glob("accuracy-models-*.json")
        assert json.loads(file.read_text())["machine"]["commit"] == f"another, {json.loads(before)['commit']}"
    finally:
        path.write_text(before)


def test_a_cell_that_diverges_stops_no_other(go, monkeypatch):
    loss_of, factors = training.loss_of, iter([torch.nan])

    def first_is_nan(*of: Any, **how: Any) -> torch.Tensor:
        return loss_of(*of, **how) * next(factors, 1.0)

    monkeypatch.setattr(training, "loss_of", first_is_nan)
    with pytest.raises(
        UserError, match=r"1 runs diverged, .*: cnn2d-none-global-adamw-seed-0: the loss of epoch 1 is not finite"
    ):
        go(steps="1", out=go.folder / "diverging")
    (path,) = (go.folder / "results").glob("accuracy-models-*.json")
    assert [row["column"] for row in json.loads(path.read_text())["rows"]] == ["study"]


def test_finished_cells_keep_their_reports_only(go, steps):
    files = {path.name for path in (runs(go) / "cnn2d-study-global-adamw-seed-0").iterdir()}
    assert files >= {"config.json", "report.json", "report.md", "metrics.jsonl"}
    assert not [name for name in files if ".pt" in name]


def test_a_picture_is_drawn(go, result):
    (path,) = (go.folder / "results").glob("accuracy-models-*.png")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert path.stat().st_size > 5_000


def test_the_section_says_what_it_is_about(result):
    text = accuracy_table.section(result)
    for words in ("`demo`, split `demo`: 10 clips to train on, 10 to validate, 10 to test", "steps as stated", "fp32"):
        assert words in text
    assert "cannot be compared with ours here" in text
    assert "95 % interval" in text
    assert "| cnn2d | study | 95 % | 77 % | 83.39 % | 4 |" in text
    assert "±" not in text  # of one seed there is no spread
    assert f"](results/accuracy-models-{'cpu' if result['machine']['device'] == 'cpu' else 'gpu'}.png)" in text


def test_full_gtzan_trained_to_the_end_is_comparable(result):
    whole = {**result["settings"], "split": "study", "clips": accuracy_table.STUDY_CLIPS, "steps": "", "seeds": 3}
    text = accuracy_table.section({**result, "settings": whole})
    assert "cannot be compared" not in text
    assert "on the same clips" in text
    assert "as long as train.py lets it" in text
    assert "% ± 0.0" in text


def test_cells_of_other_settings_or_clips_are_not_taken_over(go, steps):
    with pytest.raises(UserError, match=r"seed-0 was trained with --precision fp32, not bf16: remove .* another --out"):
        go(precision="bf16")
    report = runs(go) / "cnn2d-none-global-adamw-seed-0" / "report.json"
    before = report.read_text()
    content = json.loads(before)
    content["data"]["digest"] = "another"
    report.write_text(json.dumps(content))
    try:
        with pytest.raises(UserError, match="seed-0 was trained on other clips than those of"):
            go()
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
def test_a_mistake_is_answered_in_a_sentence(go, options, sentence):
    with pytest.raises(UserError, match=sentence):
        go(**options)


def test_the_studys_table_is_whole():
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
