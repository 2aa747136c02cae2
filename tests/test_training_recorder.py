"""steps.jsonl has a line for each step, with its measures, and continues after a resume."""

import json
import os

import pytest
import torch

from gtzan_stream.errors import UserError
from gtzan_stream.training.progress import sums_of
from gtzan_stream.training.recorder import STEPS, Recorder
from gtzan_stream.training.run import Run
from tests.test_training_run import start  # noqa: F401
from tests.train_cases import history_of, steps_of


def test_a_run_records_each_step(unbroken):
    rows, epochs = steps_of(unbroken), history_of(unbroken)
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert [row["epoch"] for row in rows] == [1] * 4 + [2] * 4
    for number, epoch in enumerate(epochs):
        own = rows[4 * number : 4 * number + 4]
        for name in ("loss", "accuracy"):  # all batches have five examples
            assert sum(row[name] for row in own) / 4 == pytest.approx(epoch[f"train_{name}"], rel=1e-6)
        assert {row["lr"] for row in own} == {epoch["lr"]}
    times = [json.loads(line) for line in (unbroken / STEPS).read_text().splitlines()]
    assert all(row["crops_per_second"] > 0 and 0 <= row["data_wait_share"] < 1 for row in times)


def sums(loss: float, n_correct: int) -> torch.Tensor:
    logits = torch.eye(3)
    labels = (torch.arange(3) + torch.tensor([i >= n_correct for i in range(3)])) % 3
    return sums_of(torch.tensor(loss), logits, labels, torch.ones(3))


def test_the_measures_of_many_steps_are_read_at_once(tmp_path, monkeypatch):
    stack, calls = torch.stack, []
    with Recorder(tmp_path, 0) as recorder:
        for step in range(1, 5):
            recorder.add(sums(3.0 * step, step % 4), step=step, epoch=1, lr=0.1 / step)
        assert (tmp_path / STEPS).read_bytes() == b""
        monkeypatch.setattr(torch, "stack", lambda tensors: calls.append(len(tensors)) or stack(tensors))
        recorder.write([(1.0, 3.0), (0.0, 1.5)])  # the fourth step has begun, and the third has no time yet
        assert calls == [2]
        recorder.write([])
        assert len((tmp_path / STEPS).read_text().splitlines()) == 2
        recorder.write([(1.0, 0.0), (0.0, 0.0)])
    rows = [json.loads(line) for line in (tmp_path / STEPS).read_text().splitlines()]
    assert rows[0] == {
        **{"step": 1, "epoch": 1, "lr": 0.1, "loss": 1.0, "accuracy": pytest.approx(1 / 3)},
        **{"crops_per_second": 0.75, "data_wait_share": 0.25},
    }
    assert [row["loss"] for row in rows] == [1, 2, 3, 4]
    assert [row["accuracy"] for row in rows] == pytest.approx([1 / 3, 2 / 3, 1, 0])
    assert [row["lr"] for row in rows] == [0.1 / step for step in range(1, 5)]
    assert [row["crops_per_second"] for row in rows] == [0.75, 2, 3, None]
    assert [row["data_wait_share"] for row in rows] == [0.25, 0, 1, None]


def test_a_step_without_examples_has_no_measures(tmp_path):
    with Recorder(tmp_path, 0) as recorder:
        recorder.add(torch.zeros(3), step=1, epoch=1, lr=0.1)
        recorder.write([(1.0, 1.0)])
    row = json.loads((tmp_path / STEPS).read_text())
    assert (row["loss"], row["accuracy"], row["crops_per_second"]) == (None, None, 0)


@pytest.mark.parametrize("rest", ["", '{"step": 4, "los', '{"step": 3}', '{"step": 4}\n{"step": 5}\n', "[]\n"])
def test_lines_after_the_checkpoint_are_cut_off(tmp_path, rest):
    (tmp_path / STEPS).write_text("".join(f'{{"step": {step}}}\n' for step in (1, 2, 3)) + rest)
    with Recorder(tmp_path, 3) as recorder:
        assert [row["step"] for row in steps_of(tmp_path)] == [1, 2, 3]
        recorder.add(sums(1.0, 3), step=4, epoch=2, lr=0.1)
        recorder.write([(1.0, 1.0)])
        recorder.sync()
    assert [row["step"] for row in steps_of(tmp_path)] == [1, 2, 3, 4]
    Recorder(tmp_path, 0).__exit__(None, None, None)
    assert (tmp_path / STEPS).read_bytes() == b""


def test_a_file_that_cannot_be_written_is_an_error_of_one_line(tmp_path):
    (tmp_path / STEPS).mkdir()
    with pytest.raises(UserError, match=r"steps\.jsonl cannot be written: Is a directory; choose another folder"):
        Recorder(tmp_path, 0)


def test_a_full_disk_is_an_error_of_one_line(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with Recorder(tmp_path, 0) as recorder, open("/dev/full", "wb", buffering=0) as full:
        recorder._file.close()
        recorder._file = full
        recorder.add(sums(1.0, 3), step=1, epoch=1, lr=0.1)
        with pytest.raises(UserError, match=r"steps\.jsonl cannot be written: No space left on device; .* make room"):
            recorder.write([(1.0, 1.0)])


def test_the_lines_are_on_the_disk_before_a_checkpoint(tmp_path, monkeypatch, start):  # noqa: F811
    synced, calls = [], []
    monkeypatch.setattr(os, "fsync", synced.append)
    with Recorder(tmp_path, 0) as recorder:
        recorder.sync()
        assert synced == [recorder._file.fileno()]
    run, sync, save = start(epochs=2), Recorder.sync, Run.save
    monkeypatch.setattr(Recorder, "sync", lambda self: calls.append("sync") or sync(self))
    monkeypatch.setattr(Run, "save", lambda self, *name: calls.append("save") or save(self, *name))
    run.train()
    assert calls[:2] == ["sync", "save"]
    assert calls.count("sync") == 2
