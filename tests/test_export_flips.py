"""Damaged model.pt2 files give a one-line error or the same logits."""

import random
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from gtzan_stream.inference import export
from tests.conftest import MANY


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(128, 3))
    path = tmp_path_factory.mktemp("model") / "model.pt2"
    export.write(path, network, LogMel(frames=8), labels=["a", "b", "c"], config={"model": "own"})
    return path


def logits(path: Path) -> torch.Tensor:
    loaded = export.Model.load(path)
    return loaded(torch.linspace(-1, 1, loaded.metadata.geometry.read_length)[None])


def positions(path: Path, rng: random.Random, n: int) -> list[int]:
    """Return random positions in the file, half of them in the small headers, names and metadata."""
    with zipfile.ZipFile(path) as archive:
        starts = [entry.header_offset for entry in archive.infolist()]
        central = archive.start_dir
    size = path.stat().st_size
    near = [rng.choice(starts) + rng.randrange(120) for _ in range(n // 4)]
    near += [rng.randrange(central, size) for _ in range(n // 4)]
    return [min(position, size - 1) for position in near] + [rng.randrange(size) for _ in range(n // 2)]


def test_flipped_bytes_are_refused_or_change_nothing(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    expected, whole = logits(model), model.read_bytes()
    path, rng, refused = tmp_path / "model.pt2", random.Random(0), 0
    flips = positions(model, rng, 32 * MANY)
    for position in flips:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            got = logits(path)
        except UserError as error:
            refused += "\n" not in str(error) and str(path) in str(error)
            continue
        assert torch.equal(got, expected), position
        refused += 1
    assert refused == len(flips)
    assert not caplog.records, "torch logs tracebacks"


def test_truncated_files_are_refused(model: Path, tmp_path: Path):
    path, whole = tmp_path / "model.pt2", model.read_bytes()
    for size in (0, 10, 1000, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"model\.pt2 is not a model of gtzan-stream: expected the model\.pt2"):
            export.Model.load(path)
