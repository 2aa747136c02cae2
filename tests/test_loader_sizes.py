"""Loaders of shards at other sample rates, and of clips that are too short for the default crops."""

import re

import numpy as np
import pytest
import torch

from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel, RawWaveform, whole_clips
from gtzan_stream.loader import Loader
from tests.conftest import write_wav


def test_features_have_the_sample_rate_of_the_shards_by_default(tmp_path, rng):
    from gtzan_stream.store.pack import pack

    samples = np.round(3000 * rng.standard_normal(8000 * 4)).astype(np.int16)
    write_wav(tmp_path / "music" / "pop" / "a.wav", samples, 8000)
    pack(tmp_path / "music", tmp_path / "shards", sample_rate=8000)
    with Loader(tmp_path / "shards", augment="none", batch_size=1, crops_per_clip=1) as loader:
        assert loader.features.geometry == LogMel(sample_rate=8000).geometry
        (batch,) = loader
    whole = whole_clips(LogMel(sample_rate=8000), torch.from_numpy(samples / np.float32(32768))[None])
    first = int(batch.starts[0]) // 180
    torch.testing.assert_close(batch.features[0], whole[0, :, first : first + 128], rtol=0, atol=1e-5)


def test_the_error_for_clips_that_are_all_too_short_suggests_suitable_features(words):
    message = (
        r"every clip of part train is too short to count: the longest lasts 0\.49 s, .*; "
        r"choose shorter crops: --frames 16, or features=LogMel\(sample_rate=8000, frames=16\)$"
    )
    with pytest.raises(UserError, match=message):
        Loader(words, split="words", part="train")
    for split in ("words", "brief"):
        with Loader(words, split=split, part="train", features=LogMel(sample_rate=8000, frames=16)) as loader:
            assert all(batch.weights[: len(set(batch.keys))].all() for batch in loader.evaluation("valid"))
            if split == "words":
                continue
            with pytest.raises(UserError, match=r"every clip of part test is too short .*: --frames 4, or feat"):
                loader.evaluation("test")


def test_the_suggestion_names_the_class_of_the_features(words):
    message = rf"^every clip of {re.escape(str(words))} is too short .*, or features=RawWaveform\(.*, frames=\d+\)$"
    with pytest.raises(UserError, match=message):
        Loader(words, features=RawWaveform(sample_rate=8000))
