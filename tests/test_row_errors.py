"""A row for which a transform fails: an error with shard and key, or skipped, without a change of the other rows."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gtzan_stream.augment import Audiomentations, Compose, Draw, Gain, OneOf, TimeStretch, Transform, stage
from gtzan_stream.augment.rows import apply_rows
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.loader import Loader
from tests.audio_functions import exits_if_loud, fails_if_loud, louder
from tests.augment_cases import keys, music
from tests.worker_cases import posix


class Failing(Transform):
    """Raise an error for the crops with index 1; otherwise change nothing."""

    def __init__(self, error: type[Exception] | None = ValueError, labelled: bool = False) -> None:
        super().__init__()
        self.error, self.labelled = error, labelled

    def compute(self, waveform: Tensor, draw: Draw, length: int | None) -> Tensor:
        for row in np.flatnonzero(draw.crops == 1).tolist():
            if self.error is not None:
                raise self.error(f"{draw.label(row)}: broken" if self.labelled else "broken")
        return waveform[:, :length].clone()


def failing(error: type[Exception] | None, labelled: bool = False) -> Transform:
    return Compose([TimeStretch(0.8, 1.3), OneOf([Compose([Failing(error, labelled)])]), Gain(0.5, 2.0)])


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(("error", "labelled"), [(ValueError, False), (BadSample, True)])
def test_a_row_that_fails_is_skipped_and_no_other_row_changes(
    error: type[Exception], labelled: bool, num_workers: int, shards: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def load(transform: Transform) -> Loader:
        return Loader(
            shards, augment=transform, batch_size=8, crops_per_clip=3, on_error="skip", num_workers=num_workers
        )

    n_skipped = 0
    with caplog.at_level(logging.WARNING), load(failing(None)) as whole, load(failing(error, labelled)) as loader:
        shard_of = dict(zip(loader.manifest.keys.to_pylist(), loader.manifest.shard, strict=True))
        for expected, batch in zip(whole, loader, strict=True):
            bad = batch.crops == 1
            good = torch.from_numpy(~bad)
            assert torch.equal(batch.features[good], expected.features[good])
            assert torch.equal(batch.weights, expected.weights * good)
            assert not batch.features[~good].any()  # the log-mel of silence
            names = [loader.manifest.shards[shard_of[key]].name for key in batch.keys]
            messages = [
                f"{shards / name}, key {key}, crop 1: broken"
                for name, key, is_bad in zip(names, batch.keys, bad, strict=True)
                if is_bad
            ]
            assert list(batch.skipped) == messages
            n_skipped += len(messages)
        assert len(loader.skipped) == n_skipped > 0
        assert [record.getMessage() for record in caplog.records] == [f"skipped: {text}" for text in loader.skipped]


def test_the_error_of_a_row_names_shard_and_key(shards: Path) -> None:
    with (
        Loader(shards, augment=failing(ValueError), batch_size=8, crops_per_clip=3) as loader,
        pytest.raises(BadSample, match=r"^\S+gtzan-\d+\.tar, key [a-z]+_\d{5}, crop 1: broken$"),
    ):
        list(loader)


@pytest.mark.parametrize("error", [UserError, RuntimeError, TypeError])
def test_other_errors_of_a_transform_are_never_skipped(error: type[Exception], shards: Path) -> None:
    with (
        Loader(shards, augment=failing(error), batch_size=8, crops_per_clip=3, on_error="skip") as loader,
        pytest.raises(error, match=r"^broken$"),
    ):
        list(loader)


def test_rows_that_fail_in_one_call_for_all_rows_are_found() -> None:
    """On CUDA, and for waveforms that require gradients, all rows are computed in one call."""
    found: dict[int, str] = {}
    transform, whole = failing(ValueError), failing(None)
    draw, lengths = transform.draw(keys(5), crops=np.array([0, 1, 2, 1, 3])), np.full(5, 4000)
    wave = music(5, int(transform.source(lengths, draw).length.max())).requires_grad_()
    expected = whole.apply(wave, draw, lengths)
    with torch.no_grad():
        out = transform.apply(wave, draw, lengths, failed=lambda row, error: found.update({row: str(error)}))
        assert found == {1: "broken", 3: "broken"}
        assert not out[[1, 3]].any()
        torch.testing.assert_close(out[[0, 2, 4]], expected[[0, 2, 4]])
        with pytest.raises(ValueError, match="broken"):
            transform.apply(wave, draw, lengths)


def test_a_channel_that_fails_is_reported_by_the_row_of_its_example() -> None:
    found: set[int] = set()
    transform = Failing()
    draw = transform.draw(keys(3), crops=np.array([0, 0, 1]))
    wave = music(6, 100).view(3, 2, 100)
    out = transform.apply(wave, draw, failed=lambda row, error: found.add(row))
    assert found == {2}
    assert torch.equal(out[:2], wave[:2])
    assert not out[2].any()


def test_a_row_that_cannot_be_read_is_reported_once_even_if_the_transform_fails_for_silence(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gtzan_stream.store.read import ClipReader

    def read(reader: ClipReader, clip: int, start: int, out: np.ndarray) -> None:
        raise BadSample(f"clip {clip}")

    monkeypatch.setattr(ClipReader, "read", read)
    monkeypatch.setattr(ClipReader, "direct_rows", lambda *arguments: None)
    with Loader(shards, augment=failing(ValueError), batch_size=8, crops_per_clip=3, on_error="skip") as loader:
        for batch in loader:
            assert all(text.startswith("clip ") for text in batch.skipped)
            assert len(batch.skipped) == 8


@posix
@pytest.mark.parametrize("function", [exits_if_loud, fails_if_loud])
def test_a_row_of_a_worker_process_is_skipped(function: object, shards: Path) -> None:
    """The process exits, or the function raises an error, for some rows."""
    broken, whole = (Audiomentations(f, num_workers=2) for f in (function, louder))  # type: ignore[arg-type]
    reason = "exit status 3" if function is exits_if_loud else "RuntimeError: too loud"
    with (
        Loader(shards, augment=broken, batch_size=8, crops_per_clip=2, on_error="skip") as loader,
        Loader(shards, augment=whole, batch_size=8, crops_per_clip=2) as other,
    ):
        for batch, expected in zip(loader, other, strict=True):
            good = batch.weights > 0
            assert torch.equal(batch.features[good], expected.features[good])
        assert 0 < len(loader.skipped) < len(loader) * 8
        assert all(reason in text and "_if_loud failed: " in text and ".tar, key " in text for text in loader.skipped)
    broken.close()
    whole.close()


def test_a_stage_names_the_shard_of_a_clip_for_which_its_transform_fails() -> None:
    sample = {"__url__": "x.tar", "__key__": "a", "wav": np.zeros(9, np.float32)}
    with pytest.raises(BadSample, match=r"^x\.tar, key a: shout failed: ValueError: no sound$"):
        list(stage(Audiomentations(shout, num_workers=0))([sample]))


def shout(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    raise ValueError("no sound")


def test_rows_without_a_report_raise_their_error() -> None:
    draw = Failing().draw(keys(2), crops=[0, 1])
    with pytest.raises(ValueError, match="broken"):
        apply_rows(Failing(), torch.zeros(2, 9), draw, None, None)
