"""The report of a run as a page: report.html, in one file."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from gtzan_stream import pages
from gtzan_stream.evaluation import Evaluation
from gtzan_stream.inference.preview_page import picture_features
from gtzan_stream.loader import Loader
from gtzan_stream.training import plots

MOST_CELLS = 60
"""Most labels with a number in each cell of the confusion matrix; of more, it is a picture."""

NO_SOUNDS = {"wrong": [], "ticks": [], "seconds": 1.0, "context_s": 0.0, "scale": None, "scale_uri": ""}
"""Result of `most_wrong` for a network that is always right."""
Sounds = dict[str, Any]
"""Tracks, and what the page needs to draw and play the worst chunk of each."""


def page(report: Mapping[str, Any], history: Sequence[dict[str, Any]], sounds: Sounds) -> str:
    """Render a report as a page.

    Parameters
    ----------
    report : mapping
        The content of report.json.
    history : sequence of dict
        The rows of metrics.jsonl.
    sounds : dict
        The result of `most_wrong` or `without_sounds`.
    """
    test = report["test"]
    return pages.render(
        "report.html",
        report=report,
        curves=[curves_svg(what, history, report["training"]["best_epoch"]) for what in plots.CURVES],
        matrix=matrix_rows(test["confusion"]),
        matrix_picture=matrix_picture(test["confusion"]) if len(test["labels"]) > MOST_CELLS else "",
        **sounds,
    )


def curves_svg(what: str, history: Sequence[dict[str, Any]], best_epoch: int) -> str:
    """Draw the curves of `what` as an SVG element, in the colour of the page's text."""
    figure = Figure(figsize=(4.6, 3.8), layout="constrained")
    plots.draw_curves(figure.subplots(), what, history, best_epoch=best_epoch)
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": what}):
        FigureCanvasSVG(figure).print_svg(file, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace("#ffffff", "none").replace("#000000", "currentColor")
    return svg.replace("<svg", f"<svg role='img' aria-label='{what.capitalize()} by epoch'", 1)


def matrix_rows(counts: Sequence[Sequence[int]]) -> list[list[tuple[int, float]]]:
    """Return each count of a confusion matrix with its share of the row."""
    return [[(count, count / max(sum(row), 1)) for count in row] for row in counts]


def matrix_picture(counts: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix as a PNG data URI, the first label at the top."""
    shares = np.array([[share for _, share in row] for row in matrix_rows(counts)])
    return pages.heat_map_uri(shares[::-1], pages.Scale(0.0, 1.0))


def most_wrong(tracks: Sequence[Mapping[str, Any]], loader: Loader, evaluation: Evaluation) -> Sounds:
    """Draw and encode the worst chunk of each of the tracks `most_wrong` of a report, on one scale of colours.

    Parameters
    ----------
    tracks : sequence of mapping
    loader : Loader
        Of the training.
    evaluation : Evaluation
        Of the test.
    """
    if not tracks:
        return NO_SOUNDS
    geometry, features = loader.features.geometry, picture_features(loader)
    batch = evaluation.batch_of([track["key"] for track in tracks], [track["chunk"] for track in tracks])
    samples = loader.waveforms(batch)
    images = batch.features if features is loader.features else features(samples)
    heard, drawn = samples.cpu().numpy(), images.float().cpu().numpy()
    scale = pages.Scale.of(list(drawn))
    wrong = []
    for row, track in enumerate(tracks):
        full_scale = pages.peak(heard[row])
        crop = pages.draw_crop(
            heard[row],
            drawn[row],
            pages.gain_words(full_scale),
            geometry=geometry,
            valid_frames=int(batch.valid_frames[row]),
            scale=scale,
            full_scale=full_scale,
        )
        wrong.append((track, clock(float(batch.starts[row]) / geometry.sample_rate), crop))
    return {
        "wrong": wrong,
        "ticks": pages.hz_ticks(features.centres_hz),
        "seconds": geometry.stride / geometry.sample_rate,
        "context_s": geometry.context / geometry.sample_rate,
        "scale": scale,
        "scale_uri": pages.scale_uri(),
    }


def without_sounds(tracks: Sequence[Mapping[str, Any]]) -> Sounds:
    """Return the tracks `most_wrong` of a report for a page that plays none of them, because there are no shards."""
    return {**NO_SOUNDS, "wrong": [(track, "", None) for track in tracks]}


def clock(seconds: float) -> str:
    """Format seconds as minutes and seconds.

    >>> clock(65.04)
    '1:05.0'
    """
    tenths = math.floor(10 * seconds + 0.5)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"
