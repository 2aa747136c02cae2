"""The pictures and files of results."""

import io
import json
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console
from rich.markdown import Markdown

from gtzan_stream.inference.png import write_png
from gtzan_stream.training import plots, report


def curves(history: list[dict[str, Any]], best_epoch: int) -> Figure:
    """Draw all curves."""
    figure = Figure()
    for panel, what in zip(figure.subplots(1, 2), plots.CURVES, strict=True):
        plots.draw_curves(panel, what, history, best_epoch=best_epoch)
    return figure


def test_the_pictures_show_the_numbers(tmp_path):
    columns = ("train_loss", "valid_loss", "train_accuracy", "valid_chunk_accuracy", "valid_track_accuracy")
    history = [{"epoch": epoch, **{name: epoch / n for n, name in enumerate(columns, 1)}} for epoch in (1, 2, 3)]
    drawn = [curves(history, best_epoch=2), plots.confusion_matrix([[3, 1], [0, 0]], ["blues", "r$o$ck"])]
    panels = drawn[0].get_axes()
    starts = [[line.get_ydata()[0] for line in panel.get_lines()[:-1]] for panel in panels]
    assert starts == [[1 / 1, 1 / 2], [1 / 3, 1 / 4, 1 / 5]]
    legends = [[text.get_text() for text in panel.get_legend().get_texts()] for panel in panels]
    assert legends[0] == ["training", "validation", "kept: epoch 2"]
    assert legends[1] == ["training, per chunk", "validation, per chunk", "validation, per track", "kept: epoch 2"]
    assert [set(panel.get_lines()[-1].get_xdata()) for panel in panels] == [{2}, {2}]
    (panel,) = drawn[1].get_axes()
    assert panel.get_images()[0].get_array().tolist() == [[0.75, 0.25], [0, 0]]
    assert {text.get_position(): text.get_text() for text in panel.texts} == {(0, 0): "3", (1, 0): "1"}
    assert panel.get_yticklabels()[1].get_parse_math() is False
    for figure in drawn:
        write_png(tmp_path / "a.png", figure)
        assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([2.0, 1.0, 0.5], "linear"), ([2.0, 400.0, 0.5], "log"), ([0.0, 0.0, 9.0], "linear"), ([0.0], "linear")],
)
def test_no_curve_is_cut_off(losses, scale):
    shares = [0.0, 1.0, 0.5][: len(losses)]
    columns = {"train_loss": losses, "valid_loss": losses, "train_accuracy": shares}
    columns |= {"valid_chunk_accuracy": shares, "valid_track_accuracy": shares}
    history = [{"epoch": i + 1, **{name: v[i] for name, v in columns.items()}} for i in range(len(losses))]
    panels = curves(history, best_epoch=1).get_axes()
    assert panels[0].get_yscale() == scale
    for panel in panels:
        for line in panel.get_lines()[:-1]:
            (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
            assert all(bottom <= y <= top for y in line.get_ydata())
            assert all(left < x < right for x in line.get_xdata())
            assert not line.get_clip_on()
            assert line.get_marker() == "."


def test_the_confusion_matrix_of_many_labels_fits_a_screen():
    figure = plots.confusion_matrix(np.eye(300, dtype=int).tolist(), [f"label {n}" for n in range(300)])
    assert max(figure.get_size_inches()) <= plots.MAX_INCHES
    assert not figure.get_axes()[0].texts


def test_history_is_a_line_an_epoch(tmp_path):
    report.write_history(tmp_path / "metrics.jsonl", [{"epoch": 1}, {"epoch": 2}])
    assert [json.loads(line)["epoch"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1, 2]


def test_the_results_are_labelled():
    blues = {"tracks": 4, "track_recall": 0.75, "chunk_recall": 0.5, "track_precision": 1.0}
    rock = {"tracks": 0, "track_recall": None, "chunk_recall": None, "track_precision": None}
    test = {
        "tracks": 4,
        "track_accuracy": 0.75,
        "track_interval": [0.3, 0.95],
        "labels": {"blues": blues, "rock": rock},
    }
    test |= {"chunks": 8, "chunk_accuracy": 0.5, "chunk_interval": [0.1, 0.9]}
    text = report.results({"config": {"chunks": "all"}, "test": test})
    assert (
        "| per track | 75.0% | 30.0% to 95.0% | 4 tracks |\n| per chunk | 50.0% | 10.0% to 90.0% | 8 chunks |" in text
    )
    assert "| blues | 4 | 75% | 50% | 100% |\n| rock | 0 |  |  |  |\n" in text
    assert "Evaluated on all chunks of each track" in text


def test_any_label_is_printed_as_it_is():
    labels = ["a|b <i>c</i>", r"*d* [e](f) \g &amp; `h` ~~i~~", "#1_2_3"]
    row = {"tracks": 4, "track_recall": 0.75, "chunk_recall": 0.5, "track_precision": 1.0}
    test = {f"{of}_{name}": 1 for of in ("track", "chunk") for name in ("accuracy",)} | {"tracks": 4, "chunks": 4}
    test |= {"track_interval": [0, 1], "chunk_interval": [0, 1], "labels": dict.fromkeys(labels, row)}
    file = io.StringIO()
    Console(file=file, width=120).print(Markdown(report.results({"config": {"chunks": "all"}, "test": test})))
    for label in labels:
        assert f" {label} " in file.getvalue()
