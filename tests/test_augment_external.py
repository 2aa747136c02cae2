"""Audiomentations: reproducible with any number of processes, without changing global random state."""

import copy
import pickle
import random
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from gtzan_stream.augment import Audiomentations, Compose, Gain
from gtzan_stream.augment.seeded import call_seeded
from gtzan_stream.dsp import backend
from gtzan_stream.errors import BadSample
from tests import audio_functions
from tests.audio_functions import audiomentations_chain, exhausted, jitter, rate_as_sound, unless_silent
from tests.augment_cases import keys, music, untyped
from tests.conftest import need


def processes(transform: Audiomentations) -> list[subprocess.Popen[bytes]]:
    assert transform._workers is not None
    return [worker.popen for worker in transform._workers._started]


@pytest.fixture(scope="module")
def pooled() -> Iterator[Audiomentations]:
    need("audiomentations")
    transform = Audiomentations(unless_silent, num_workers=2)
    yield transform
    transform.close()


def test_worker_processes_do_not_change_the_result(pooled: Audiomentations, monkeypatch: pytest.MonkeyPatch) -> None:
    # In one thread, because beartype, which checks types in tests, draws from `random` in the others.
    monkeypatch.setattr(backend, "_shared", backend.RowThreads(1))
    wave, names = music(6, 9000), keys(6)
    before = wave.clone()
    here = Audiomentations(audiomentations_chain(), num_workers=0)
    expected = here(wave, names, seed=1, epoch=2)
    assert torch.equal(pooled(wave, names, seed=1, epoch=2), expected)
    assert torch.equal(pooled(wave, names, seed=1, epoch=2), expected)
    assert torch.equal(here(wave[4:5], names[4:5], seed=1, epoch=2)[0], expected[4])
    assert not torch.equal(here(wave, names, seed=1, epoch=3), expected)
    assert not torch.equal(expected[0], wave[0])
    assert torch.equal(wave, before)


def test_rows_in_one_call_equal_rows_one_by_one(pooled: Audiomentations) -> None:
    """On CUDA, all rows are computed in one call."""
    wave = music(4, 5000)
    draw = pooled.draw(keys(4), seed=3)
    assert torch.equal(pooled.compute(wave, draw, None), pooled.apply(wave, draw))


def test_copies_have_their_own_processes(pooled: Audiomentations) -> None:
    wave = music(1, 3000)
    expected = pooled(wave, keys(1), seed=8)
    other = pickle.loads(pickle.dumps(pooled))
    assert torch.equal(other(wave, keys(1), seed=8), expected)
    (process,) = processes(other)
    assert process not in processes(pooled)
    other.close()
    assert process.poll() is not None
    assert processes(other) == []
    assert isinstance(copy.deepcopy(pooled), Audiomentations)


def test_global_random_state_is_restored() -> None:
    wave = np.ones(100, np.float32)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.rand()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = call_seeded(jitter, wave, 22050, 2**63 + 1)
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002
    assert np.array_equal(call_seeded(jitter, wave, 22050, 2**63 + 1), first)
    assert not np.array_equal(call_seeded(jitter, wave, 22050, 1), first)
    assert (wave == 1).all()


def test_numpy_is_seeded_with_all_bits() -> None:
    def from_numpy(samples: np.ndarray, sample_rate: int) -> np.ndarray:
        return np.random.rand(4)  # noqa: NPY002

    drawn = {tuple(call_seeded(from_numpy, np.ones(1, np.float32), 1, 1 + (1 << bit))) for bit in (1, 31, 32, 52)}
    assert len(drawn) == 4


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_sample_rate_reaches_the_transform(num_workers: int) -> None:
    transform = Audiomentations(rate_as_sound, sample_rate=16000, num_workers=num_workers)
    assert (transform(torch.ones(1, 9), keys(1)) == 16000).all()
    transform.close()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_any_error_of_the_transform_names_the_key(num_workers: int) -> None:
    transform = Audiomentations(exhausted, num_workers=num_workers)
    with pytest.raises(BadSample, match=r"key blues_00000, crop 0: .*failed: RuntimeError: no memory"):
        transform(torch.ones(1, 9), keys(1))
    transform.close()


def test_output_is_cut_or_padded_to_the_length_of_the_input() -> None:
    transform = Audiomentations(jitter, num_workers=0)
    out = transform(torch.ones(1, 100), keys(1))
    assert out.shape == (1, 100)
    assert out[0, :90].all()
    assert not out[0, 90:].any()
    chain = Compose([transform, Gain(1.0, 1.0)])
    draw = chain.draw(keys(2))
    assert chain.source(50, draw).length.tolist() == [50, 50]
    assert chain.apply(torch.ones(2, 50), draw, np.array([50, 20])).shape == (2, 50)


def test_dtype_is_kept() -> None:
    need("audiomentations")
    out = Audiomentations(audiomentations_chain(), num_workers=0)(music(1, 2000).double(), keys(1))
    assert out.dtype == torch.float64


def test_p_zero_does_not_call_the_transform() -> None:
    transform = Audiomentations(unless_silent, p=0.0, num_workers=0)
    assert torch.equal(transform(torch.zeros(2, 50), keys(2)), torch.zeros(2, 50))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_errors_name_the_key(num_workers: int, pooled: Audiomentations) -> None:
    transform = pooled if num_workers else Audiomentations(unless_silent, num_workers=0)
    with pytest.raises(BadSample, match=r"key blues_00000, crop 7: .*failed: ValueError: no sound in it"):
        transform.apply(torch.zeros(1, 9), transform.draw(keys(1), crops=[7]))


def test_the_error_names_the_key_of_the_row_that_fails() -> None:
    def unless_empty(samples: np.ndarray, sample_rate: int) -> np.ndarray:
        if not samples.any():
            raise ValueError("no sound in it")
        return samples

    rows = torch.ones(4, 9)
    rows[2] = 0
    with pytest.raises(BadSample, match="key blues_00002, crop 0: "):
        Audiomentations(unless_empty, num_workers=0)(rows, keys(4))


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("as_stereo", r"expected mono float samples \[time\], got float32 of shape \(2, 9\)"),
        ("as_int16", r"expected mono float samples \[time\], got int16 of shape \(9,\)"),
        ("as_nothing", r"expected mono float samples \[time\], got object of shape \(\)"),
        ("as_file", r"expected mono float samples \[time\], got object"),
        ("as_nan", "expected finite samples, got nan at sample 3 of 9"),
        ("as_large_number", "expected finite samples, got inf at sample 3 of 9"),
    ],
)
def test_anything_but_finite_mono_samples_is_an_error(function: str, reason: str, num_workers: int) -> None:
    transform = Audiomentations(getattr(audio_functions, function), num_workers=num_workers)
    with pytest.raises(BadSample, match=f"^key blues_00000, crop 0: {function} failed: (ValueError: )?{reason}"):
        transform(torch.ones(1, 9), keys(1))
    transform.close()


def test_wrong_arguments_are_refused() -> None:
    with untyped(), pytest.raises(TypeError, match="expected a transform of audiomentations, got 3"):
        Audiomentations(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_workers >= 0"):
        Audiomentations(jitter, num_workers=-1)
    for timeout_s in (0.0, float("nan")):
        with pytest.raises(ValueError, match=f"timeout_s > 0, got 1, 22050 and {timeout_s}"):
            Audiomentations(jitter, num_workers=1, timeout_s=timeout_s)
    with pytest.raises(ValueError, match="use num_workers=0"):
        Audiomentations(lambda samples, rate: samples, num_workers=1)
