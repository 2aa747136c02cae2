"""Recipes: the augmentations that can be chosen by name."""

import sys

import numpy as np
import pytest
import torch

from gtzan_stream.augment import Audiomentations, OneOf, names, recipe
from gtzan_stream.augment.recipes import study_names
from gtzan_stream.errors import UserError
from tests.augment_cases import keys, music
from tests.conftest import need


def test_the_documented_recipes_exist() -> None:
    assert {"none", "study", "strong", "audiomentations"} <= set(names())


@pytest.mark.parametrize("name", [name for name in names() if name != "audiomentations"])
def test_a_recipe_is_a_transform_that_keeps_the_shape(name: str) -> None:
    out = recipe(name)(music(3, 5000), keys(3))
    assert out.shape == (3, 5000)
    assert out.isfinite().all()


@pytest.mark.parametrize("name", ["heavy", "only", "only:", "only:Reverb", "without:study", ":Gain"])
def test_the_error_of_an_unknown_recipe_lists_the_known_ones(name: str) -> None:
    with pytest.raises(UserError, match=rf"'{name}'; there are {', '.join(names())}, .*NAME .* Gain,"):
        recipe(name)


def test_none_changes_nothing() -> None:
    wave = music(2, 100)
    assert torch.equal(recipe("none")(wave, keys(2)), wave)


def test_the_study_recipe_has_the_ranges_of_the_study() -> None:
    draw = recipe("study").draw(keys(6000))
    drawn = {child.name: {k: (v.min(), v.max()) for k, v in child.values.items()} for child in draw.children}
    expected = {
        "Identity": {},
        "GaussianNoise": {"std": (0.005, 0.005)},
        "TimeShift": {"shift": (1600, 1600)},
        "TimeStretch": {"rate": (0.9, 1.1)},
        "PitchShift": {"n_steps": (0, 4)},
        "SpeedPerturb": {"rate": (1.0, 1.25)},
        "Gain": {"gain": (1.5, 3.0)},
        "Percussive": {},
    }
    assert drawn.keys() == expected.keys()
    for name, ranges in expected.items():
        assert drawn[name].keys() == ranges.keys()
        for value, ends in ranges.items():
            assert drawn[name][value] == pytest.approx(ends, abs=0.003)


def test_the_study_has_seven_augmentations() -> None:
    assert len(study_names()) == len(set(study_names())) == 7


@pytest.mark.parametrize("name", study_names())
def test_an_augmentation_of_the_study_can_be_used_alone_or_left_out(name: str) -> None:
    whole = {child.name: child.values.keys() for child in recipe("study").draw(keys(2)).children}
    draws = {part: recipe(f"{part}:{name}").draw(keys(4000)) for part in ("only", "without")}
    assert [child.name for child in draws["only"].children] == ["Identity", name]
    assert [child.name for child in draws["without"].children] == [other for other in whole if other != name]
    for draw in draws.values():
        assert all(child.values.keys() == whole[child.name] for child in draw.children)
        n = len(draw.children)
        assert [child.chosen.mean() for child in draw.children[1:]] == pytest.approx([1 / n] * (n - 1), abs=0.03)


def test_strong_applies_its_members_with_their_probabilities() -> None:
    transform = recipe("strong")
    draw = transform.draw(keys(3000))
    lines = [draw.describe(i) for i in range(3000)]
    n_stretched = [line.count("TimeStretch") + line.count("PitchShift") + line.count("SpeedPerturb") for line in lines]
    assert max(n_stretched) == 1
    assert np.mean(n_stretched) == pytest.approx(0.7, abs=0.04)
    assert np.mean(["Percussive" in line for line in lines]) == pytest.approx(0.05, abs=0.015)
    assert np.mean(["Gain" in line for line in lines]) == pytest.approx(0.8, abs=0.03)
    assert np.mean(["GaussianNoise" in line for line in lines]) == pytest.approx(0.3, abs=0.03)
    assert np.ptp(transform.rate(draw)) == pytest.approx(0.45, abs=0.02)
    assert transform(music(4, 4000), keys(4)).abs().max() < 10


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "audiomentations", None)
    with pytest.raises(
        UserError, match=r"needs the library of that name .*pip install 'gtzan-stream\[audiomentations\]"
    ):
        recipe("audiomentations")


def test_the_audiomentations_recipe_calls_that_library() -> None:
    am = need("audiomentations")
    transform = recipe("audiomentations")
    assert isinstance(transform, Audiomentations)
    assert not isinstance(transform, OneOf)
    assert isinstance(transform.transform, am.OneOf)
    assert transform.draw(keys(4000)).chosen.mean() == pytest.approx(6 / 7, abs=0.02)
    noise, shift, *_, gain = transform.transform.transforms
    wave = music(1, 4000)[0].numpy()
    assert np.array_equal(shift(wave, 22050), np.roll(wave, 1600))
    assert np.std(noise(0 * wave, 22050)) == pytest.approx(0.005, rel=0.05)
    gains = [float(gain(wave, 22050).max() / wave.max()) for _ in range(300)]
    assert (min(gains), max(gains)) == pytest.approx((1.5, 3), abs=0.05)
    out = Audiomentations(transform.transform, num_workers=0)(music(12, 4000), keys(12), seed=1)
    assert not (out == music(12, 4000)).all(dim=1).any()
    transform.close()
