"""Training is repeatable, and resumable to the bit from any step."""

import json
import os
import signal
from pathlib import Path

import pytest

from gtzan_stream.training import metrics
from gtzan_stream.training.run import Run
from tests.train_cases import SMALL, assert_equal_runs, history_of

pytestmark = pytest.mark.usefixtures("no_export")


def test_a_second_run_is_equal_to_the_bit(go, unbroken):
    assert go("--name", "again", *SMALL, "--num-workers", "0").exit_code == 0
    assert_equal_runs(unbroken, go.out / "again")


@pytest.mark.parametrize(
    ("owner", "name", "number"),
    [pytest.param(metrics.Collector, "add", 1, marks=pytest.mark.slow), (Run, "step", 7)],
)
def test_an_interrupted_run_continues_to_the_same_end(go, unbroken, monkeypatch, owner, name, number):
    """In the first validation and in the middle of the second epoch; a smaller network is tested at other moments."""
    original, calls = getattr(owner, name), []

    def then_interrupt(self, *arguments):
        original(self, *arguments)
        calls.append(name)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(owner, name, then_interrupt)
    result = go("--name", name, *SMALL)
    assert result.exit_code == 130, result.output
    assert "--resume" in result.output
    assert len(calls) == number
    monkeypatch.undo()
    assert not (go.out / name / "report.json").exists()
    result = go("--resume", str(go.out / name), "--num-workers", "1", defaults=False)
    assert result.exit_code == 0, result.output
    assert_equal_runs(unbroken, go.out / name)


BEYOND = [*SMALL, "--mixup", "0.4", "--spec-augment", "24", "--label-smoothing", "0.1", "--schedule", "cosine"]
BEYOND += ["--steps", "6"]


@pytest.fixture(scope="module")
def beyond(go) -> Path:
    """A run with the options that the study did not have, which ends in its second epoch."""
    result = go("--name", "beyond", *BEYOND)
    assert result.exit_code == 0, result.output
    return go.out / "beyond"


def test_a_run_ends_after_its_steps_with_a_validation(beyond, unbroken):
    rows = history_of(beyond)
    assert [row["step"] for row in rows] == [4, 6]
    assert all(row["valid_loss"] > 0 for row in rows)
    training = json.loads((beyond / "report.json").read_text())["training"]
    assert (training["epochs"], training["steps"], training["stopped"]) == (2, 6, "all steps are done")
    assert rows[0]["train_loss"] != history_of(unbroken)[0]["train_loss"]
    assert rows[-1]["lr"] == pytest.approx(0, abs=1e-12)


def test_an_interrupted_run_that_mixes_and_masks_continues_to_the_same_end(go, beyond, monkeypatch):
    step, calls = Run.step, []

    def then_interrupt(self, batch):
        step(self, batch)
        calls.append(batch)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Run, "step", then_interrupt)
    name = "beyond-interrupted"
    assert go("--name", name, *BEYOND).exit_code == 130
    monkeypatch.undo()
    result = go("--resume", str(go.out / name), defaults=False)
    assert result.exit_code == 0, result.output
    assert_equal_runs(beyond, go.out / name)


def test_a_finished_run_can_be_continued_for_more_epochs(go, unbroken):
    assert go("--name", "short", *SMALL, "--epochs", "1").exit_code == 0
    assert go("--resume", str(go.out / "short"), "--epochs", "2", defaults=False).exit_code == 0
    assert_equal_runs(unbroken, go.out / "short")


def test_a_finished_run_can_be_continued_for_more_steps(go, unbroken):
    assert go("--name", "four", *SMALL, "--steps", "4").exit_code == 0
    result = go("--resume", str(go.out / "four"), "--steps", "8", defaults=False)
    assert result.exit_code == 0, result.output
    assert_equal_runs(unbroken, go.out / "four")
    result = go("--resume", str(go.out / "four"), "--steps", "7", defaults=False)
    message = "error: --steps 7 is less than the 8 steps that this run has done: give 8 or more\n"
    assert (result.exit_code, result.output) == (2, message)
    result = go("--resume", str(go.out / "four"), "--epochs", "1", defaults=False)
    message = "error: --epochs 1 is less than the 2 epochs that this run has begun: give 2 or more\n"
    assert (result.exit_code, result.output) == (2, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--lr", "0.1", "--seed", "3"],
            "--lr, --seed cannot change in a resumed run, only --check, --device, --epochs",
        ),
        (["--shards", "/nowhere"], "/nowhere does not exist"),
    ],
)
def test_settings_that_a_resumed_run_cannot_change_are_refused(go, unbroken, arguments, message):
    result = go("--resume", str(unbroken), *arguments, defaults=False)
    assert result.exit_code == 2
    assert message in result.output


def test_resuming_a_folder_without_a_run_is_an_error(go, tmp_path):
    result = go("--resume", str(tmp_path), defaults=False)
    assert result.exit_code == 2
    assert "is not a checkpoint: give the folder of a run" in result.output


def test_the_best_checkpoint_cannot_be_resumed(go, unbroken):
    result = go("--resume", str(unbroken / "best.pt"), defaults=False)
    assert result.exit_code == 2
    assert "best.pt, of cnn2d, has no optimizer; it has network: start a new run" in result.output
