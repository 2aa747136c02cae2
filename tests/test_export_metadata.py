"""model.pt2 files with metadata that do not fit the program: one line that names the file and the remedy."""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from gtzan_stream import cli
from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from gtzan_stream.inference import export
from tests.augment_cases import untyped
from tests.conftest import write_wav

LABELS = ["a", "b", "c"]
HUGE = (10**12, 2**70)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a model with other metadata or geometry, and correct checksums."""
    folder = tmp_path_factory.mktemp("model")
    network = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(128, 3))
    export.write(folder / "whole.pt2", network, LogMel(frames=8), labels=LABELS, config={"model": "own"})

    def change(geometry: dict[str, Any] | None = None, **metadata: Any) -> Path:
        path = folder / "model.pt2"
        with zipfile.ZipFile(folder / "whole.pt2") as whole, zipfile.ZipFile(path, "w") as copy:
            for name in whole.namelist():
                content = whole.read(name)
                if name.endswith(export.METADATA):
                    found = json.loads(content)
                    content = json.dumps(found | metadata | {"geometry": found["geometry"] | (geometry or {})}).encode()
                copy.writestr(name, content)
        return path

    return change


def test_unchanged_metadata_is_accepted(changed):
    model = export.Model.load(changed())
    assert model(torch.zeros(1, model.metadata.geometry.read_length)).shape == (1, 3)
    assert export.read_metadata(changed({"sample_rate": export.RATES[-1]})).geometry.sample_rate == export.RATES[-1]


METADATA = [
    *({"labels": labels} for labels in (None, 3, {}, [], "abc", ["a"], [str(n) for n in range(11)], [1, 2, 3])),
    *({"labels": labels} for labels in (["a", "b", "b"], [["a"], ["b"], ["c"]], {"a": 0, "b": 1, "c": 2})),
    *({"model": 3}, {"config": []}, {"config": None}, {"torch": {}}, {"version": None}, {"input": 1}, {"more": 1}),
    *({"geometry": {"frames": frames}} for frames in (1, 7, 9, 64, *HUGE)),
    *({"geometry": {name: number}} for name in ("step", "frame_length") for number in (1, *HUGE)),
    *({"geometry": {"sample_rate": number}} for number in (0, -1, *HUGE)),
    *({"geometry": {name: None}} for name in ("sample_rate", "step", "frame_length", "frames", "context", "silence")),
    {"geometry": {"step": 1024, "frame_length": 1024 - 512 * 7}},
    {"geometry": {"step": 511, "frame_length": 1024 + 7}},  # the same read_length
    {"geometry": {"silence": 10**400}},
    {"geometry": {"context": 2**70}},
]


@pytest.mark.parametrize("metadata", METADATA, ids=lambda metadata: str(metadata)[:60])
def test_wrong_metadata_gives_a_one_line_error(changed, metadata):
    path = changed(**metadata)
    with untyped(), pytest.raises(UserError) as caught:
        export.Model.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path} ")
    assert "\n" not in message
    assert len(message) < len(str(path)) + 250
    assert re.search("copy or train it again|expected the model.pt2 that train.py writes", message), message
    assert "cannot be loaded" not in message


def test_classify_raises_the_error(changed, tmp_path):
    song = write_wav(tmp_path / "song.wav", np.zeros(22050))
    assert CliRunner().invoke(cli.app, ["classify", str(changed()), str(song)]).exit_code == 0
    result = CliRunner().invoke(cli.app, ["classify", str(changed(labels=["a"])), str(song)])
    assert "which has 1 labels for logits of shape [3]: copy or train it again" in str(result.exception)
