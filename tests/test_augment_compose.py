"""Compose and OneOf: how often transforms are applied, how draws are named, and which input a chain reads."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gtzan_stream.augment import (
    Compose,
    Gain,
    GaussianNoise,
    Identity,
    OneOf,
    Percussive,
    SpeedPerturb,
    TimeShift,
    TimeStretch,
    Transform,
    recipe,
)
from gtzan_stream.augment.draw import Examples
from gtzan_stream.augment.rows import apply_batch
from tests.augment_cases import keys, music


def pulse_at(time: int, position: float) -> np.ndarray:
    return np.exp(-0.5 * ((np.arange(time) - position) / 30) ** 2).astype(np.float32)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_p_is_a_frequency(p: float) -> None:
    draw = Gain(p=p).draw(keys(4000), seed=1)
    assert draw.chosen.mean() == pytest.approx(p, abs=0.03)


def test_one_of_picks_by_weight() -> None:
    transform = OneOf([Gain(2.0, 3.0), Identity(), TimeShift(), GaussianNoise()], weights=[1.0, 2.0, 0.0, 1.0], p=0.8)
    draw = transform.draw(keys(4000), seed=2)
    assert [child.chosen.mean() for child in draw.children] == pytest.approx([0.2, 0, 0, 0.2], abs=0.03)
    picked = np.array([draw.values["pick"] == i for i in range(4)]).mean(1)
    assert picked == pytest.approx([0.25, 0.5, 0, 0.25], abs=0.03)
    assert not (draw.children[0].chosen & draw.children[3].chosen).any()


def test_one_of_always_picks_a_member_that_has_a_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """In floating point, ten times 0.1 is less than 1, and even less than the largest number that can be drawn."""
    transform = OneOf([Gain() for _ in range(11)], weights=[0.1] * 10 + [0.0])
    monkeypatch.setattr(Examples, "uniform", lambda self, name: np.full(len(self.key_hash), 1 - 2.0**-53))
    assert transform.draw(keys(1)).values["pick"] == 9


def test_one_of_copies_the_batch_once() -> None:
    class Counted(TorchDispatchMode):
        clones = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            self.clones += func is torch.ops.aten.clone.default and args[0].shape == waveform.shape
            return func(*args, **(kwargs or {}))

    waveform, transform = music(24, 4096), recipe("study")
    draw = transform.draw(keys(24))
    assert len(np.unique(draw.values["pick"])) > 5
    with Counted() as counted:
        out = apply_batch(transform, waveform, draw, None, None)
    assert counted.clones == 1
    torch.testing.assert_close(out, transform.apply(waveform, draw), rtol=0, atol=2e-4)


def test_the_study_recipe_applies_each_transform_to_an_eighth() -> None:
    draw = recipe("study").draw(keys(8000))
    shares = [child.chosen.mean() for child in draw.children[1:]]
    assert shares == pytest.approx([1 / 8] * 7, abs=0.015)
    names = {draw.describe(i).split("(")[0] for i in range(300)}
    assert names == {
        "unchanged", "GaussianNoise", "TimeShift", "TimeStretch", "PitchShift", "SpeedPerturb", "Gain", "Percussive"
    }  # fmt: skip


def test_every_position_in_a_chain_draws_independently() -> None:
    twice = Compose([Gain(), Gain(), OneOf([Gain(), Gain()])])
    draw = twice.draw(keys(500))
    gains = [draw.children[0], draw.children[1], *draw.children[2].children, Gain().draw(keys(500))]
    values = np.array([gain.values["gain"] for gain in gains])
    assert np.abs(np.corrcoef(values) - np.eye(5)).max() < 0.2
    assert len({gain.rng for gain in gains}) == 5


def test_noise_of_siblings_differs() -> None:
    silence = torch.zeros(1, 4000)
    one = GaussianNoise(1.0, 1.0)(silence, keys(1))
    two = Compose([GaussianNoise(1.0, 1.0), GaussianNoise(1.0, 1.0)])(silence, keys(1))
    assert two.std() == pytest.approx(2**0.5, rel=0.05)
    assert not torch.equal(two, 2 * one)


def test_compose_applies_in_order() -> None:
    chain = Compose([Gain(2.0, 2.0), TimeShift(1, 1), Gain(3.0, 3.0)])
    assert chain(torch.tensor([[1.0, 2.0]]), keys(1)).tolist() == [[12.0, 6.0]]


def test_empty_chain() -> None:
    chain, wave = Compose([]), music(2, 100)
    draw = chain.draw(keys(2))
    assert torch.equal(chain.apply(wave, draw), wave)
    assert torch.equal(chain.apply(wave, draw, 60), wave[:, :60])


def test_a_chain_left_out_draws_nothing_inside() -> None:
    draw = Compose([Gain(), OneOf([Gain(), TimeShift()])], p=0.5).draw(keys(200))
    out = ~draw.chosen
    assert 40 < out.sum() < 160
    assert not draw.children[0].chosen[out].any()
    assert not draw.children[1].children[0].chosen[out].any()
    assert {draw.describe(int(i)) for i in np.flatnonzero(out)} == {"unchanged"}


def test_describe_lists_the_transforms_of_a_chain() -> None:
    chain = Compose([Gain(2.0, 2.0), Compose([TimeShift(100, 100)]), Gain(p=0.0)])
    assert chain.draw(keys(1)).describe(0) == "Gain(gain=2) > TimeShift(shift=100)"


def test_numbers_that_are_not_finite_are_described() -> None:
    draw = Gain(2.0, 2.0).draw(keys(2))
    changed = replace(draw, values={"gain": np.array([np.nan, -np.inf])})
    assert [changed.describe(row) for row in (0, 1)] == ["Gain(gain=nan)", "Gain(gain=-inf)"]


steps = st.one_of(
    st.floats(0.7, 1.4).map(lambda rate: SpeedPerturb(rate, rate)),
    st.integers(-3000, 3000).map(lambda shift: TimeShift(shift, shift)),
    st.just(Gain(1.0, 1.0)),
    st.just(Identity()),
)


@settings(max_examples=30, deadline=None)
@given(chain=st.lists(steps, min_size=1, max_size=4), position=st.integers(500, 2500))
def test_a_chain_reads_the_input_that_its_output_needs(chain: list[Transform], position: int) -> None:
    """Put a pulse in the clip where the chain should move it to output sample `position`, and find it there."""
    transform, start = Compose(chain), 50000
    draw = transform.draw(keys(1))
    moment = float(position)
    for member, drawn in reversed(list(zip(chain, draw.children, strict=True))):
        shift = drawn.values["shift"][0] if isinstance(member, TimeShift) else 0.0
        moment = member.rate(drawn)[0] * (moment - shift)
    clip = pulse_at(100000, start + moment)
    source = transform.source(3000, draw)
    first = start - int(source.before[0])
    segment = torch.from_numpy(clip[first : first + int(source.length[0])])[None]
    out = transform.apply(segment, draw, 3000)[0]
    assert abs(int(out.argmax()) - position) <= 1 + len(chain)


def test_the_source_of_a_chain_is_computed_from_last_to_first() -> None:
    chain = Compose([TimeShift(1600, 1600), SpeedPerturb(2.0, 2.0), Percussive()])
    draw = chain.draw(keys(1))
    speed_draw = draw.children[1]
    inner = chain.members[1].source(5000 + 2 * 10240, speed_draw)
    source = chain.source(5000, draw)
    assert source.length[0] == inner.length[0]
    assert source.before[0] == 1600 + inner.before[0] + 2 * 10240
    assert chain.rate(draw)[0] == 2


def test_a_segment_that_is_too_short_is_an_error() -> None:
    transform = Percussive()
    with pytest.raises(ValueError, match="expected rows of 21480 samples, got 1000"):
        transform.apply(torch.zeros(1, 1000), transform.draw(keys(1)), 1000)


def test_survives_pickle_copy_and_state_dict() -> None:
    transform = Compose([recipe("study"), TimeStretch(p=0.5)])
    wave = music(3, 3000)
    expected = transform(wave, keys(3), seed=3)
    for other in (pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform)):
        assert torch.equal(other(wave, keys(3), seed=3), expected)
    assert transform.state_dict() == {}


def test_a_transform_can_be_part_of_a_module() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.augment = recipe("study")
            self.linear = nn.Linear(4, 2)

    net = Net().to(torch.float64).eval()
    assert "TimeStretch(0.9..1.1, vocoder, p=1)" in repr(net)
