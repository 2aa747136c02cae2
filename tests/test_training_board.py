"""The option --tensorboard: what TensorBoard shows, also of a resumed run, and the error if it is missing."""

import io
import json
import os
import signal
from itertools import islice
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from gtzan_stream import Loader
from gtzan_stream.features import LogMel, RawWaveform
from gtzan_stream.training import board, launch
from gtzan_stream.training.run import Interrupted, Run
from tests.conftest import need
from tests.test_training_run import build, start  # noqa: F401


@pytest.fixture(scope="module")
def events() -> Any:
    """A function that reads what TensorBoard shows of a run."""
    need("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def read(run: Run) -> Any:
        sizes = {"scalars": 0, "images": 0, "audio": 0, "tensors": 0}
        return EventAccumulator(str(run.folder / board.FOLDER), size_guidance=sizes).Reload()

    return read


def test_tensorboard_shows_a_run(start, events, monkeypatch, no_export):  # noqa: F811
    run = start(epochs=3, tensorboard=True, augment="study")
    with monkeypatch.context() as patch:
        step, calls = Run.step, []

        def then_interrupt(self: Run, batch: Any) -> None:
            step(self, batch)
            calls.append(batch)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGINT)

        patch.setattr(Run, "step", then_interrupt)
        with pytest.raises(Interrupted):
            run.train()
    run.close()
    run = launch.resume(run.folder, {}, build=build)
    run.train()
    run.finish()
    run.finish()  # as if it had been interrupted before the report
    shown = events(run)
    rows = [json.loads(line) for line in (run.folder / "steps.jsonl").read_text().splitlines()]
    for name, tag in board.TAGS.items():
        points = [(point.step, point.value) for point in shown.Scalars(tag)]
        assert points == [(row["step"], pytest.approx(row[name])) for row in rows], tag
    for name in ("valid_loss", "train_accuracy", "lr"):
        tag = f"epoch/{name.replace('_', ' ')}"
        points = [(point.step, point.value) for point in shown.Scalars(tag)]
        assert points == [(row["step"], pytest.approx(row[name])) for row in run.progress.history], tag
    report = json.loads((run.folder / "report.json").read_text())
    (point,) = shown.Scalars("test/track accuracy")
    assert (point.step, point.value) == (7, pytest.approx(report["test"]["track_accuracy"]))
    assert [image.step for image in shown.Images("augmented/features")] == [1, 3, 5]
    assert [image.step for image in shown.Images("test/confusion matrix")] == [7]
    assert "tensors" in shown.Tags()
    for number in range(1, board.SHOWN + 1):
        sounds = shown.Audio(f"augmented/sound {number}")
        assert [sound.step for sound in sounds] == [1, 3, 5]
        samples, sample_rate = soundfile.read(io.BytesIO(sounds[0].encoded_audio_string))
        assert (sample_rate, len(samples)) == (22050, run.train_loader.features.geometry.read_length)
    loader = start(name="again", augment="study").train_loader
    heard = loader.waveforms(next(iter(loader)))[0].numpy()
    samples, _ = soundfile.read(io.BytesIO(shown.Audio("augmented/sound 1")[0].encoded_audio_string))
    np.testing.assert_allclose(samples, np.clip(heard, -1, 1), atol=1e-4)


def test_pictures_of_examples_are_the_right_way_up_and_have_one_scale():
    images = np.zeros((2, 64, 64), np.float32)
    images[0, :8] = 1.0  # low frequencies
    images[1, :8] = 0.25
    image = board.pixels(board.draw_examples(["a$b$", "b"], images, board.Scale(0.0, 1.0)))
    height, width = image.shape[:2]
    brightness = image.astype(int).sum(axis=2)
    left, right = brightness[:, width // 4], brightness[:, 3 * width // 4]
    assert left[int(0.95 * height)] > right[int(0.95 * height)] > left[height // 2] == right[height // 2]
    assert Image.fromarray(image).size == (640, 320)


class Writer:
    """Stands for TensorBoard's writer, and lists what it is called with."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: self.calls.append((name, *arguments))


@pytest.fixture
def written(tmp_path, monkeypatch) -> board.Board:
    need("tensorboard")
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", Writer)
    return board.Board(tmp_path, 0)


def test_a_step_without_a_measure_has_no_point(written):
    written.add_step(
        {"step": 3, "loss": 1.0, "accuracy": None, "lr": 0.1, "crops_per_second": 9.0} | {"data_wait_share": None}
    )
    assert written._writer.calls == [
        ("add_scalar", "step/loss", 1.0, 3),
        ("add_scalar", "step/learning rate", 0.1, 3),
        ("add_scalar", "step/crops per second", 9.0, 3),
    ]


@pytest.mark.parametrize("features", [LogMel(n_mels=32, frames=16), RawWaveform(frames=1000)])
def test_rows_that_count_are_shown_on_one_scale(written, shards, features):
    with Loader(shards, features=features, batch_size=4) as loader:
        for batch in islice(loader, 2):
            batch.weights[0] = 0
            written.add_batch(batch, loader, lambda features: features, 1)
            scale = written._scale
    assert [call[1] for call in written._writer.calls if call[0] == "add_audio"] == [
        f"augmented/sound {number}" for number in (1, 2, 3, 1, 2, 3)
    ]
    pictures = [call for call in written._writer.calls if call[0] == "add_image"]
    assert len(pictures) == (2 if isinstance(features, LogMel) else 0)
    with Loader(shards, features=features, batch_size=4) as loader:
        batch = next(iter(loader))
        batch.features *= 2
        written.add_batch(batch, loader, lambda features: features, 2)
    assert written._scale is scale


def test_a_missing_tensorboard_is_an_error_before_training(go, monkeypatch):
    monkeypatch.setattr(board, "find_spec", lambda name: None)
    result = go("--name", "no-board", "--tensorboard")
    assert result.exit_code == 2
    assert result.output.startswith("error: --tensorboard needs the package tensorboard, which is not installed: pip ")
    assert result.output.count("\n") == 1
    assert not (go.out / "no-board").exists()
