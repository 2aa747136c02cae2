"""Helpers of the tests of training: settings of small runs, and the comparison of two runs."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import models
from gtzan_stream.training import checkpoints
from gtzan_stream.training.config import Config
from gtzan_stream.training.defaults import complete

STUDY = ["alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "googlenet", "resnet34", "resnet50", "densenet"]
STUDY += ["cnn1d", "samplecnn", "cnn2d", "crnn"]
"""The study's networks; the registry may have more."""
DEEP_VGG = {"vgg13", "vgg16", "vgg19"}
"""Networks that differ from vgg11 only in their number of layers, and take seconds for each step."""
SMALL = ["--n-mels", "64", "--frames", "64"]
"""Options of train.py for the smallest features that cnn2d takes."""
TIMES = {"crops_per_second", "data_wait_share", "train_seconds"}


def slow_if(slow: str | Iterable[str], names: list[str]) -> list[Any]:
    """Return parameters for networks: the `slow` ones are only tested in `make test-all`."""
    slow = {slow} if isinstance(slow, str) else {*slow}
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]


def slow_if_deep(names: list[str]) -> list[Any]:
    """Return parameters for networks: those of `DEEP_VGG` are only tested in `make test-all`."""
    return slow_if(DEEP_VGG, names)


def shapes_of(model: str, n_classes: int) -> nn.Module:
    """Build a network without weights, which take up to seconds, for tests that only need its shapes."""
    with torch.device("meta"):
        return models.build(model, n_classes)


def network_of(folder: Path, name: str = checkpoints.LAST) -> dict[str, torch.Tensor]:
    """Load the weights of a network from a checkpoint of a run."""
    return checkpoints.load(folder / name)["parts"]["network"]


def history_of(folder: Path) -> list[dict[str, float]]:
    """Read the measures of each epoch of a run, without times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def steps_of(folder: Path) -> list[dict[str, float]]:
    """Read the measures of each step of a run, without times."""
    rows = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def assert_equal_runs(one: Path, other: Path) -> None:
    """Check that two runs have the same history, steps, weights and test results."""
    assert history_of(one) == history_of(other)
    assert steps_of(one) == steps_of(other)
    for name in (checkpoints.LAST, checkpoints.BEST):
        a, b = network_of(one, name), network_of(other, name)
        assert all(torch.equal(a[key], b[key]) for key in a), name
    reports = [json.loads((folder / "report.json").read_text()) for folder in (one, other)]
    assert reports[0]["test"] == reports[1]["test"]


def completed(**settings: object) -> Config:
    """Return settings with all defaults filled in, as train.py does."""
    config = Config(**settings)
    return complete(config, models.spec(config.model))
