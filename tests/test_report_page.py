"""report.html: one file with all results, and with the sound of the tracks that were predicted worst."""

import base64
import html
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from gtzan_stream import Loader
from gtzan_stream.features import LogMel
from gtzan_stream.training import report_page

COLUMNS = ("train_loss", "valid_loss", "train_accuracy", "valid_chunk_accuracy", "valid_track_accuracy")
HISTORY = [{"epoch": epoch, **dict.fromkeys(COLUMNS, 1 / epoch)} for epoch in (1, 2, 3)]


@pytest.fixture(scope="module")
def report(unbroken: Path) -> dict[str, Any]:
    return json.loads((unbroken / "report.json").read_text())


@pytest.fixture(scope="module")
def page(unbroken: Path) -> str:
    return (unbroken / "report.html").read_text()


def words_of(page: str) -> str:
    """Return the text of a page without its elements."""
    body = re.sub(r"<(style|script|svg).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_a_page_has_all_results(page, report):
    words = words_of(page)
    test, training = report["test"], report["training"]
    low, high = (f"{100 * bound:.1f} %" for bound in test["track_interval"])
    assert f"Test, per track {100 * test['track_accuracy']:.1f} % 95 % interval: {low} to {high}, of 10 tracks" in words
    assert f"{training['crops_per_second']:.0f} crops/s" in words
    assert f"The network of epoch {training['best_epoch']} was kept" in words
    for label, row in test["labels"].items():
        precision = "" if row["track_precision"] is None else f" {100 * row['track_precision']:.0f} %"
        recalls = f"{100 * row['track_recall']:.0f} % {100 * row['chunk_recall']:.0f} %"
        assert f" {label} {row['tracks']} {recalls}{precision}" in words
    for name, value in [*report["config"].items(), *report["versions"].items()]:
        assert f" {name} {value} " in words
    assert f"digest {report['data']['digest']}" in words
    assert "Examples that were skipped None." in words
    for track in test["most_wrong"]:
        own, predicted = (f"({100 * track[f'{name}_probability']:.1f} %)" for name in ("label", "predicted"))
        assert f"{track['key']} is {track['label']} {own}, predicted {track['predicted']} {predicted}" in words


def test_the_confusion_matrix_has_counts_and_shares(page, report):
    table = page.split('<table class="matrix">')[1].split("</table>")[0]
    cell = re.compile(r"<td style[^>]*>(?:(\d+)<span>(\d+) %</span>)?</td>")
    rows = [cell.findall(row) for row in table.split("</tr>")[1:-1]]
    found = [[int(count or 0) for count, _ in row] for row in rows]
    assert found == report["test"]["confusion"]
    for row in rows:
        total = sum(int(count or 0) for count, _ in row)
        assert all(int(share) == round(100 * int(count) / total) for count, share in row if count)


def test_a_page_loads_nothing_from_elsewhere(page):
    outside = re.findall(r'(?:src|href)="(?!data:|#)[^"]*', page)
    assert outside == []
    assert "<metadata>" not in page
    assert "default-src 'none'" in page


def test_the_sound_of_a_wrong_track_is_its_worst_chunk_untouched(page, report, tiny):
    sounds = re.findall(r'src="data:audio/flac;base64,([^"]*)"', page)
    tracks = report["test"]["most_wrong"]
    assert len(sounds) == len(tracks) > 0
    with Loader(tiny, split="demo", part="train", features=LogMel(n_mels=64, frames=64), num_workers=0) as loader:
        for encoded, track in zip(sounds[:3], tracks, strict=False):
            samples, sample_rate = soundfile.read(io.BytesIO(base64.b64decode(encoded)), dtype="float32")
            assert sample_rate == 22050
            for batch in loader.evaluation("test"):
                at = [i for i, key in enumerate(batch.keys) if (key, batch.crops[i]) == (track["key"], track["chunk"])]
                if at:
                    expected = loader.waveforms(batch)[at[0]].numpy()
            np.testing.assert_allclose(samples, expected / np.abs(expected).max(), atol=2e-4)


def test_curves_take_the_colours_of_the_page():
    svg = report_page.curves_svg("loss", HISTORY, 2)
    assert svg.startswith("<svg role='img' aria-label='Loss by epoch'")
    assert "#000000" not in svg
    assert "#ffffff" not in svg
    assert "currentColor" in svg
    assert ">training</text>" in svg
    assert svg == report_page.curves_svg("loss", HISTORY, 2)


def test_a_perfect_network_and_many_labels_and_strange_names_fit(report):
    n = report_page.MOST_CELLS + 1
    none = {"tracks": 0, "track_recall": None, "chunk_recall": None, "track_precision": None}
    labels = {"<b>&": none, **{f"label {number}": none for number in range(1, n)}}
    test = {"labels": labels, "most_wrong": [], "confusion": np.eye(n, dtype=int).tolist()}
    changed = report | {"test": report["test"] | test, "skipped": ["shards/a.tar, key <i>: broken"]}
    page = report_page.page(changed, HISTORY, report_page.NO_SOUNDS)
    assert "Every test track was predicted correctly." in page
    assert "&lt;b&gt;&amp;" in page
    assert "<li>shards/a.tar, key &lt;i&gt;: broken</li>" in page
    assert '<table class="matrix">' not in page
    picture = re.search(r'class="matrix" src="data:image/png;base64,([^"]*)"', page)[1]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
    assert np.array_equal(image, 255 * np.eye(n))
