"""Augmentation as a stage of a plain webdataset pipeline."""

import gc
import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import webdataset

from gtzan_stream.augment import Gain, recipe, stage
from gtzan_stream.errors import BadSample
from tests.augment_cases import keys, music


def wav(wave: np.ndarray, sample_rate: int = 22050) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, sample_rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


@pytest.fixture
def shard(tmp_path: Path) -> str:
    path = tmp_path / "set-000000.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for key, wave in zip(keys(6), music(6, 4000).numpy(), strict=True):
            writer.write({"__key__": key, "wav": wav(wave), "json": {"label": "blues"}})
    return str(path)


def read(url: str, *stages: Any) -> list[dict[str, Any]]:
    pipeline = webdataset.WebDataset(url, shardshuffle=False)
    for added in stages:
        pipeline = pipeline.compose(added)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset leaves its shards open
        samples = list(pipeline)
        gc.collect()
    return samples


def test_stage_of_a_webdataset_equals_the_batch(shard: str) -> None:
    transform = recipe("study")
    samples = read(shard, stage(transform, seed=1, epoch=2))
    assert [sample["__key__"] for sample in samples] == keys(6)
    out = torch.stack([sample["wav"] for sample in samples])
    assert out.dtype == torch.float32
    assert torch.equal(out, transform(music(6, 4000), keys(6), seed=1, epoch=2))
    assert samples[0]["json"] == b'{"label": "blues"}'


def test_the_epoch_can_be_set(shard: str) -> None:
    augment = stage(Gain(), seed=1)
    first = [sample["wav"] for sample in read(shard, augment)]
    augment.epoch = 1
    second = [sample["wav"] for sample in read(shard, augment)]
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    augment.epoch = 0
    third = [sample["wav"] for sample in read(shard, augment)]
    assert all(torch.equal(a, b) for a, b in zip(first, third, strict=True))


def test_a_stage_can_be_pickled(shard: str) -> None:
    augment = stage(recipe("study"), seed=1)
    unpickled = pickle.loads(pickle.dumps(augment))
    for a, b in zip(read(shard, unpickled), read(shard, augment), strict=True):
        assert torch.equal(a["wav"], b["wav"])


@pytest.mark.parametrize("kind", [torch.from_numpy, np.asarray, lambda wave: wave.astype(np.float64)])
def test_decoded_arrays_and_tensors_are_accepted(kind: Any) -> None:
    wave = music(1, 500)[0].numpy()
    sample = {"__key__": "a", "sound": kind(wave.copy())}
    (out,) = stage(Gain(2.0, 2.0), field="sound")([sample])
    assert torch.equal(out["sound"], torch.from_numpy(wave) * 2)
    assert np.array_equal(sample["sound"], wave)


@pytest.mark.parametrize("options", [{}, {"sample_rate": 16000}])
def test_other_sample_rates_are_resampled(options: dict[str, int]) -> None:
    t = np.arange(44100) / 44100
    (out,) = stage(Gain(1.0, 1.0), **options)([{"__key__": "a", "wav": wav(np.sin(2 * np.pi * 441 * t), 44100)}])
    assert out["wav"].shape == (options.get("sample_rate", 22050),)
    assert int(torch.fft.rfft(out["wav"]).abs().argmax()) == 441


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"flac": b""}, "x.tar, key a: expected a field 'wav', got __key__, __url__, flac; name it with field="),
        ({"wav": b"RIFF not a file"}, "x.tar, key a: .*"),
        ({"wav": np.zeros((2, 10), np.float32)}, r"x.tar, key a: expected float samples \[time\].*\(2, 10\)"),
        ({"wav": np.zeros(10, np.int16)}, "x.tar, key a: expected float samples.*int16"),
    ],
)
def test_bad_samples_name_shard_and_key(sample: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSample, match=message):
        list(stage(Gain())([{"__key__": "a", "__url__": "x.tar", **sample}]))
