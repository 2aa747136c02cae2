"""What all tests share: the real clips and the GPU, each skipped where absent unless the environment requires it."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def gtzan_root() -> Path:
    """Folder of real GTZAN clips, `<genre>/<genre>.NNNNN.wav`, from the environment variable GTZAN_ROOT."""
    root = os.environ.get("GTZAN_ROOT", "")
    if not root or not Path(root).is_dir():
        if os.environ.get("GTZAN_STREAM_REQUIRE_CLIPS") == "1":
            pytest.fail(f"GTZAN_STREAM_REQUIRE_CLIPS=1, but GTZAN_ROOT={root!r} is no folder")
        pytest.skip("GTZAN_ROOT is not set")
    return Path(root)


@pytest.fixture(scope="session")
def cuda() -> torch.device:
    """The GPU."""
    if not torch.cuda.is_available():
        if os.environ.get("GTZAN_STREAM_REQUIRE_GPU") == "1":
            pytest.fail("GTZAN_STREAM_REQUIRE_GPU=1, but torch sees no GPU")
        pytest.skip("no GPU")
    return torch.device("cuda")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
