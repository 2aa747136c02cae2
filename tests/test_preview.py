"""`gtzan-stream preview` shows the crops that training gets, beside the same segments without augmentation."""

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from gtzan_stream.augment import Gain, TimeShift, TimeStretch, Transform
from gtzan_stream.cli import main
from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from gtzan_stream.inference import preview
from gtzan_stream.inference.preview import Pair, pairs_of
from gtzan_stream.loader import Loader


def loader_of(shards: Path, augment: str | Transform, **settings: object) -> Loader:
    return Loader(shards, batch_size=6, augment=augment, seed=3, num_workers=0, **settings)


def example_pairs(loader: Loader) -> list[Pair]:
    return pairs_of(loader, next(iter(loader)))


def test_unaugmented_features_are_those_of_a_loader_without_augmentation(shards):
    for pair in example_pairs(loader_of(shards, "none")):
        np.testing.assert_array_equal(pair.unaugmented, pair.augmented)
        assert pair.description == "unchanged"


def test_augmented_features_are_those_of_the_loader(shards):
    loader = loader_of(shards, "study")
    loader.set_epoch(2)
    found = example_pairs(loader)
    other = loader_of(shards, "study")
    other.set_epoch(2)
    batch = next(iter(other))
    rows = np.flatnonzero(batch.weights).tolist()
    assert [(pair.key, pair.crop) for pair in found] == [(batch.keys[row], batch.crops[row]) for row in rows]
    for pair, row in zip(found, rows, strict=True):
        np.testing.assert_array_equal(pair.augmented, batch.features[row])
    draw = other.transform.draw(batch.keys, seed=3, epoch=2, crops=batch.crops)
    assert [pair.description for pair in found] == [draw.describe(row) for row in rows]
    assert len({pair.description for pair in found}) > 2


def test_both_panels_show_the_same_segment(shards):
    for pair in example_pairs(loader_of(shards, Gain(2.0, 2.0))):
        twice = 2 * (10**pair.unaugmented - 1)
        np.testing.assert_allclose(10**pair.augmented - 1, twice, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("frames", [-3, 3])
def test_both_panels_show_the_same_segment_after_a_time_shift(shards, frames):
    for pair in example_pairs(loader_of(shards, TimeShift(512 * frames, 512 * frames), split="three", part="train")):
        early, late = (pair.unaugmented, pair.augmented) if frames > 0 else (pair.augmented, pair.unaugmented)
        inside = slice(4, 60)  # no clip ends within these frames
        np.testing.assert_allclose(late[:, 7:63], early[:, inside], atol=1e-4)


def test_a_stretched_crop_begins_at_the_same_sample(shards):
    for pair in example_pairs(loader_of(shards, TimeStretch(0.8, 0.8), split="three", part="train")):
        before, after = pair.unaugmented.max(axis=0), pair.augmented.max(axis=0)  # a tone that swells twice a second
        slower = np.interp(np.arange(60) * 0.8, np.arange(128), before)
        assert np.corrcoef(slower, after[:60])[0, 1] > 0.9


def test_a_preview_without_crops_to_show_is_an_error(words):
    """An epoch may begin with a clip that is too short, though the others are not."""
    features = LogMel(sample_rate=8000, frames=16)
    with Loader(words, batch_size=1, features=features, crops_per_clip=1) as loader:
        empty = next(epoch for epoch in range(100) if not first_counts(loader, epoch))
        loader.set_epoch(empty)
        with pytest.raises(
            UserError, match=r"all of the first 1 crops are mostly padding; .* --count, or shorter ones with --fr"
        ):
            example_pairs(loader)


def first_counts(loader: Loader, epoch: int) -> bool:
    """Return whether the first crop of an epoch counts."""
    loader.set_epoch(epoch)
    return bool(next(iter(loader)).weights[0])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return a function that runs `gtzan-stream preview`, checks its exit code and returns its output."""

    def call(*arguments: object, code: int = 0):
        monkeypatch.setattr(sys, "argv", ["gtzan-stream", "preview", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code or 0) == code, printed.err
        return printed

    return call


def test_the_picture_of_five_crops_has_two_rows(run, shards, tmp_path):
    out = tmp_path / "new/crops.png"
    options = ["--augment", "strong", "--split", "three", "--part", "train", "--seed", "1", "--epoch", "1"]
    printed = run(shards, "--out", out, *options, "--count", "5")
    assert " ".join(printed.out.split()).startswith(f"{out}: the first 5 crops of epoch 1")
    image = imread(out)[:, :, :3]
    magma = (image[:, :, 0] > 0.9) & (image[:, :, 2] < 0.85)  # bright colours of spectrograms only
    assert magma.sum() > 1000
    assert image.shape[0] > image.shape[1] / 2  # two rows of pairs


def test_the_original_is_above_the_augmented_crop(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(preview, "write_png", lambda path, figure: drawn.append(figure))
    shown = [Pair("a", i, 0, f"drawn {i}", np.full((6, 10), i), np.full((6, 10), i + 0.5)) for i in range(5)]
    preview.plot_pairs(tmp_path / "a.png", shown, frame_s=0.5)
    panels = np.reshape(drawn[0].get_axes(), (4, 4))  # two rows of pairs
    for number in range(8):
        row, column = divmod(number, 4)
        for below, added in enumerate((0, 0.5)):
            panel = panels[2 * row + below, column]
            assert panel.get_visible() == (number < 5)
            if number < 5:
                (image,) = panel.get_images()
                assert (image.get_array() == number + added).all()
                assert (image.get_extent(), image.origin) == ([0, 5, 0, 6], "lower")
                title = panel.get_title(loc="left").splitlines()
                assert title == [f"a, crop {number}", f"drawn {number}" if below else "original"]


def test_the_errors_list_the_known_names(run, shards):
    assert "no augmentation is called 'loud'; there are none, study" in run(shards, "--augment", "loud", code=2).err
    assert "has no split 'filtred': choose one of" in run(shards, "--split", "filtred", code=2).err


def test_the_features_are_those_of_training_with_the_same_options(run, words, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(preview, "plot_pairs", lambda path, pairs, frame_s: shown.append((pairs, frame_s)))
    sizes = ["--hop-length", "50", "--frames", "64", "--n-mels", "40", "--n-fft", "300", "--f-min", "100"]
    sizes += ["--f-max", "3000", "--sample-rate", "8000"]
    out = tmp_path / "a.png"
    run(words, "--split", "words", "--out", out, "--augment", "none", *sizes, "--seed", "3", "--epoch", "2")
    ((pairs_shown, frame_s),) = shown
    features = LogMel(sample_rate=8000, hop_length=50, frames=64, n_mels=40, n_fft=300, f_min=100.0, f_max=3000.0)
    with Loader(words, split="words", part="train", batch_size=8, augment="none", features=features, seed=3) as loader:
        loader.set_epoch(2)
        batch = next(iter(loader))
    assert frame_s == 50 / 8000
    assert len(pairs_shown) == 8
    for row, pair in enumerate(pairs_shown):
        np.testing.assert_array_equal(pair.augmented, batch.features[row])


def test_wrong_sizes_are_refused(run, words, tmp_path):
    assert "choose shorter crops: --frames 16, or" in run(words, "--split", "words", code=2).err
    assert "features logmel: n_fft must be even and at least 2, got 301" in run(words, "--n-fft", "301", code=2).err
    out = tmp_path / "resampled.png"
    run(words, "--split", "words", "--sample-rate", "16000", "--frames", "16", "--out", out)
