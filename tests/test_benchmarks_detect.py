"""The detector of stretched clips: its folds, what it sees, and that it finds what there is to find."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import detect
from benchmarks.lib import sound_signals, sound_table
from benchmarks.lib.contest import OURS
from benchmarks.lib.sound_measures import SAMPLE_RATE
from gtzan_stream.errors import UserError

GENRES = [name for name in ("blues", "jazz", "rock") for _ in range(7)]


def test_each_clip_is_tested_once_and_never_trained_on():
    dealt = list(detect.folds(GENRES, seed=3))
    assert len(dealt) == 3
    tested = [clip for fold in dealt for part in fold.test for clip in part]
    assert len(tested) == len(set(tested)) == 18  # the seventh clips of three genres are left out
    for fold in dealt:
        parts = [set(part) for part in (*fold.train, *fold.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 18
        assert len(parts[0]) == len(parts[1]) == 6
        for part in fold.test:
            assert sorted(GENRES[clip] for clip in part) == ["blues", "jazz", "rock"]
    assert [fold.test for fold in detect.folds(GENRES, seed=4)] != [fold.test for fold in dealt]


def test_few_clips_are_refused():
    with pytest.raises(UserError, match="each genre needs at least 4 clips; one has 3"):
        list(detect.folds([*GENRES, "pop", "pop", "pop"], seed=0))


def test_features_have_neither_ends_nor_more_than_16_bits():
    x = 0.3 * np.random.default_rng(0).standard_normal(4 * SAMPLE_RATE)
    features = detect.log_mel(x)
    assert features.shape == (64, 1 + (2 * SAMPLE_RATE - detect.N_FFT) // detect.HOP)
    other_ends = x.copy()
    other_ends[: SAMPLE_RATE - 1] = 0
    assert torch.equal(features, detect.log_mel(other_ends))
    assert torch.equal(features, detect.log_mel(np.rint(x * 32768) / 32768))
    assert torch.equal(features, detect.log_mel(np.clip(x, -1, 32767 / 32768)))
    assert features.max() - features.min() <= detect.FLOOR_DB + 0.01


def test_the_level_of_a_crop_is_not_seen():
    network = detect.Detector().eval()
    crops = torch.randn(3, 64, detect.FRAMES)
    assert torch.allclose(network(crops), network(crops + 6), atol=1e-5)


def blurred(clips: list[torch.Tensor]) -> list[torch.Tensor]:
    return [torch.nn.functional.avg_pool1d(clip, 9, 1, 4) for clip in clips]


def test_a_detector_finds_blurred_clips_and_nothing_where_there_is_nothing():
    generator = torch.Generator().manual_seed(0)
    clips = [10 * torch.randn(64, 300, generator=generator) for _ in range(12)]
    dealt = list(detect.folds(["a"] * 6 + ["b"] * 6, seed=0))[:1]
    found = detect.detect(clips, blurred(clips), dealt, steps=40)
    assert len(found) == 4
    assert np.mean(found) > 0.9
    assert abs(np.mean(detect.detect(clips, clips, dealt, steps=40)) - 0.5) < 0.35


def test_a_share_is_right_for_its_class():
    class Yes(detect.Detector):
        def forward(self, crops: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(crops))

    clip = torch.randn(64, 400)
    assert detect.accuracy(Yes(), clip, stretched=True) == 1
    assert detect.accuracy(Yes(), clip, stretched=False) == 0


def test_interval_over_clips():
    mean, half = detect.interval([0.0, 1.0] * 50)
    assert mean == 0.5
    assert half == pytest.approx(1.96 * np.sqrt(0.25 * 100 / 99 / 100))


def test_whole_clips_of_the_shards(shards: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GTZAN_ROOT", raising=False)
    _, clips, genres = sound_signals.whole_clips(shards, 20, 2.0)
    assert [len(clip) for clip in clips] == [2 * SAMPLE_RATE] * 20
    assert genres.count("3") == 2


def test_the_table_of_detection():
    rows = [
        {"method": name, "accuracy": share, "half_interval": 0.04} for name, share in ((OURS, 0.58), ("other", 0.9))
    ]
    columns, cells = sound_table.detected(rows)
    assert cells == [[OURS, "58 % ± 4", "at most 60 %", "yes"], ["other", "90 % ± 4", "", ""]]
    assert len(columns) == 4
    assert sound_table.detected([{**rows[0], "accuracy": 0.61}])[1][0][3] == "**no**"
