"""Properties of every transform."""

import numpy as np
import pytest
import torch

from gtzan_stream import augment
from gtzan_stream.augment import Compose, GaussianNoise, OneOf, Transform
from gtzan_stream.augment.rows import apply_batch
from gtzan_stream.dsp.backend import force
from tests.augment_cases import ELSEWHERE, PUBLIC, REGISTRY, classes_in, keys, music
from tests.conftest import no_synchronisation

assert REGISTRY
ALL = pytest.mark.parametrize("name", REGISTRY)


def same(a: augment.Draw, b: augment.Draw) -> bool:
    return (
        (a.chosen == b.chosen).all()
        and a.rng == b.rng
        and all((a.values[name] == b.values[name]).all() for name in a.values)
        and all(same(x, y) for x, y in zip(a.children, b.children, strict=True))
    )


def segments(transform: Transform, draw: augment.Draw, lengths: np.ndarray) -> torch.Tensor:
    """Return rows of music as long as the longest segment that `transform` reads."""
    return music(len(lengths), int(transform.source(lengths, draw).length.max()), seed=3)


def test_registry_holds_every_transform() -> None:
    tested = set().union(*(classes_in(make(1.0)) for make in REGISTRY.values()))
    assert tested >= set(PUBLIC) - ELSEWHERE
    assert len(PUBLIC) >= 11


@pytest.mark.parametrize("cls", sorted(set(PUBLIC) - {Compose, OneOf} - ELSEWHERE, key=lambda cls: cls.__name__))
def test_a_transform_has_defaults_for_all_arguments_and_a_repr(cls: type[Transform]) -> None:
    assert cls()(music(2, 3000)).shape == (2, 3000)
    assert repr(cls()).startswith(f"{cls.__name__}(")


@ALL
def test_a_batch_equals_its_rows_alone(name: str) -> None:
    transform, waveform = REGISTRY[name](0.8), music(5, 9000)
    draw = transform.draw(keys(5), seed=1, epoch=2)
    whole = transform.apply(waveform, draw)
    for i in range(5):
        alone = transform.apply(waveform[i : i + 1], transform.draw(keys(5)[i : i + 1], seed=1, epoch=2))
        assert torch.equal(alone[0], whole[i])


@ALL
def test_a_batch_of_segments_equals_its_rows_alone(name: str) -> None:
    transform, lengths = REGISTRY[name](0.8), np.array([3000, 4096, 3500, 1, 2800])
    draw = transform.draw(keys(5), seed=1, epoch=2, crops=np.arange(5))
    waveform = segments(transform, draw, lengths)
    whole = transform.apply(waveform, draw, lengths)
    assert whole.shape == (5, 4096)
    for i in range(5):
        row = draw[i : i + 1]
        needed = transform.source(lengths[i : i + 1], row).length[0]
        alone = transform.apply(waveform[i : i + 1, :needed], row, lengths[i : i + 1])
        assert torch.equal(alone[0], whole[i, : lengths[i]])


@ALL
def test_the_draw_is_a_function_of_seed_epoch_key_and_crop(name: str) -> None:
    transform, names, crops = REGISTRY[name](0.5), keys(64), np.arange(64) << 26  # all below 2**32
    draw = transform.draw(names, seed=1, epoch=2, crops=crops)
    order = np.random.default_rng(0).permutation(64)
    assert same(transform.draw([names[i] for i in order], seed=1, epoch=2, crops=crops[order]), draw[order])
    assert not same(transform.draw(names, seed=1, epoch=3, crops=crops), draw)
    assert not same(transform.draw(names, seed=2, epoch=1, crops=crops), draw)
    assert not same(transform.draw(names, seed=1, epoch=2), draw)
    assert not same(transform.draw([*names[1:], "x"], seed=1, epoch=2, crops=crops), draw)


@ALL
def test_hashed_keys_draw_like_keys(name: str) -> None:
    from gtzan_stream.dsp.random import hash_keys

    transform = REGISTRY[name](0.5)
    assert same(transform.draw(np.asarray(hash_keys(keys(9))), seed=1), transform.draw(keys(9), seed=1))


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_replay_is_equal_and_input_and_dtype_are_kept(name: str, dtype: torch.dtype) -> None:
    transform, waveform = REGISTRY[name](0.8), music(4, 5000).to(dtype)
    before, draw = waveform.clone(), transform.draw(keys(4), seed=4)
    first = transform.apply(waveform, draw)
    assert torch.equal(waveform, before)
    assert first.dtype == dtype
    assert first.shape == waveform.shape
    assert torch.equal(first, transform.apply(waveform, draw))
    first.zero_()
    assert torch.equal(waveform, before)


@ALL
def test_float32_is_close_to_float64(name: str) -> None:
    transform, waveform = REGISTRY[name](1.0), music(4, 6000)
    draw = transform.draw(keys(4), seed=5)
    oracle = transform.apply(waveform.double(), draw)
    error = (transform.apply(waveform, draw) - oracle).norm() / oracle.norm()
    assert error < 1e-3


@ALL
def test_the_channels_of_an_example_share_one_draw(name: str) -> None:
    transform, stereo = REGISTRY[name](0.8), music(10, 6000).view(5, 2, 6000)
    before, draw = stereo.clone(), transform.draw(keys(5), seed=1, epoch=2)
    out = transform.apply(stereo, draw)
    assert out.shape == stereo.shape
    assert torch.equal(stereo, before)
    for channel in range(2):
        assert torch.equal(out[:, channel], transform.apply(stereo[:, channel].contiguous(), draw))


@ALL
def test_segments_may_have_channels(name: str) -> None:
    transform, lengths = REGISTRY[name](0.8), np.array([3000, 4096, 1])
    draw = transform.draw(keys(3), seed=1, epoch=2)
    mono = segments(transform, draw, lengths)
    out = transform.apply(torch.stack([mono, -mono], 1), draw, lengths)
    assert torch.equal(out[:, 0], transform.apply(mono, draw, lengths))
    assert torch.equal(out[:, 1], transform.apply(-mono, draw, lengths))


@ALL
def test_without_keys_rows_are_numbered_and_each_call_is_an_epoch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    transform, waveform = REGISTRY[name](0.8), music(4, 5000)
    monkeypatch.setattr("gtzan_stream.augment.base.rank_and_world_size", lambda: (3, 4))
    names = [f"3/{row}" for row in range(4)]
    for epoch in range(3):
        assert torch.equal(transform(waveform, seed=5), transform(waveform, names, seed=5, epoch=epoch))
    assert torch.equal(transform(waveform, epoch=9), transform(waveform, names, epoch=9))
    assert transform.calls == 3


@ALL
def test_inference_mode_gives_the_same_numbers(name: str) -> None:
    transform, waveform = REGISTRY[name](0.8), music(3, 6000)
    expected = transform(waveform, keys(3))
    with torch.inference_mode():
        assert torch.equal(transform(waveform, keys(3)), expected)
        assert torch.equal(transform(waveform.clone(), keys(3)), expected)  # here the input is an inference tensor, too


@ALL
def test_float32_stays_float32_whatever_the_default(name: str, float64_by_default: None) -> None:
    transform, waveform = REGISTRY[name](0.8), music(3, 6000)
    out = transform(waveform, keys(3))
    torch.set_default_dtype(torch.float32)
    assert out.dtype == torch.float32
    assert torch.equal(out, transform(waveform, keys(3)))


@ALL
def test_gradients_through_silence_are_finite(name: str) -> None:
    leaf = music(3, 6000)
    leaf[0] = 0
    leaf[1, :4000] = 0
    leaf.requires_grad_()
    REGISTRY[name](1.0)(leaf, keys(3)).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


@ALL
def test_p_zero_is_the_identity(name: str) -> None:
    transform, waveform = REGISTRY[name](0.0), music(3, 4000)
    draw = transform.draw(keys(3))
    assert torch.equal(transform.apply(waveform, draw), waveform)
    batched = apply_batch(transform, waveform, draw, None, None)
    assert torch.equal(batched, waveform)
    batched.zero_()
    assert waveform.any()  # the result was a copy
    source = transform.source(4000, draw)
    assert source.before.tolist() == [0] * 3
    assert source.length.tolist() == [4000] * 3
    assert [draw.describe(i) for i in range(3)] == ["unchanged"] * 3


@ALL
@pytest.mark.parametrize("time", [0, 1, 2, 511, 2048])
def test_short_clips_and_silence(name: str, time: int) -> None:
    transform = REGISTRY[name](1.0)
    for waveform in (torch.zeros(4, time), music(4, time)):
        out = transform(waveform, keys(4), seed=7)
        assert out.shape == (4, time)
        assert out.isfinite().all()
    if GaussianNoise not in classes_in(transform):
        assert not transform(torch.zeros(4, time), keys(4)).any()


@ALL
def test_no_rows(name: str) -> None:
    transform = REGISTRY[name](0.5)
    assert transform(torch.zeros(0, 100), []).shape == (0, 100)
    assert transform.source(100, transform.draw([])).length.shape == (0,)


@ALL
def test_a_segment_holds_all_that_its_output_depends_on(name: str) -> None:
    """Samples after the segment change nothing."""
    transform = REGISTRY[name](1.0)
    draw, short, long = transform.draw(keys(6), seed=3), np.full(6, 4000), np.full(6, 9000)
    waveform = segments(transform, draw, long)
    out = transform.apply(waveform, draw, short)
    torch.testing.assert_close(out, transform.apply(waveform, draw, long)[:, :4000], rtol=0, atol=2e-4)


@ALL
def test_the_rate_is_source_samples_per_output_sample(name: str) -> None:
    transform = REGISTRY[name](0.8)
    draw = transform.draw(keys(32), seed=3)
    growth = transform.source(10_000_000, draw).length - transform.source(5_000_000, draw).length
    np.testing.assert_allclose(growth / 5_000_000, transform.rate(draw), atol=1e-3)


@ALL
def test_rows_computed_together_equal_rows_alone(name: str) -> None:
    """Run the code path of CUDA on the CPU: lengths differ, and the padding of a short row must not leak into it."""
    transform, lengths = REGISTRY[name](0.8), np.array([3000, 4096, 3500, 2, 2800])
    draw = transform.draw(keys(5), seed=1, epoch=2)
    waveform, needed = segments(transform, draw, lengths), transform.source(lengths, draw).length
    alone = transform.apply(waveform, draw, lengths)
    for row, end in zip(waveform, needed, strict=True):
        row[end:] = torch.nan
    with force("torch"):
        batched = apply_batch(transform, waveform, draw, lengths, needed)
    assert batched.shape == alone.shape
    for a, b, end in zip(batched, alone, lengths, strict=True):
        torch.testing.assert_close(a[:end], b[:end], rtol=0, atol=2e-4)
    whole = music(5, 9000)
    with force("torch"):
        batched = apply_batch(transform, whole, draw, None, None)
    torch.testing.assert_close(batched, transform.apply(whole, draw), rtol=0, atol=2e-4)


@ALL
def test_cuda_equals_cpu(name: str, cuda: torch.device) -> None:
    transform, lengths = REGISTRY[name](0.8), np.array([3000, 4096, 3500, 2, 2800])
    draw = transform.draw(keys(5), seed=1, epoch=2)
    for waveform, wanted_lengths in ((music(5, 9000), None), (segments(transform, draw, lengths), lengths)):
        on_cpu = transform.apply(waveform, draw, wanted_lengths)
        on_device = waveform.to(cuda)
        torch.cuda.synchronize()
        with no_synchronisation():
            out = transform.apply(on_device, draw, wanted_lengths)
        assert out.device.type == "cuda"
        assert torch.equal(on_device.cpu(), waveform)
        ends = [waveform.shape[1]] * 5 if wanted_lengths is None else wanted_lengths.tolist()
        for a, b, end in zip(out.cpu(), on_cpu, ends, strict=True):
            assert (a[:end] - b[:end]).norm() <= 1e-3 * b[:end].norm() + 1e-6
