"""Transforms and features survive a round trip through JSON to the bit; objects that cannot are refused."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from gtzan_stream.augment import Audiomentations, Compose, Draw, Gain, Identity, OneOf, Transform, recipe
from gtzan_stream.augment.recipes import study_names
from gtzan_stream.described import (
    FEATURES,
    TRANSFORMS,
    build_features,
    build_transform,
    describe_features,
    describe_transform,
)
from gtzan_stream.errors import UserError
from gtzan_stream.features import Frames, LogMel, RawWaveform
from gtzan_stream.loader import Loader
from tests import feature_cases
from tests.augment_cases import PUBLIC, REGISTRY, classes_in, keys, music, untyped
from tests.conftest import MANY

CASES = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
RECIPES = ["none", "study", "strong", *(f"{kind}:{name}" for kind in ("only", "without") for name in study_names())]
REMEDY = "write a function without arguments that builds it.*--allow module:function"
GAIN = {"class": "Gain", "min_gain": 1.5, "max_gain": 3.0, "logarithmic": False, "p": 1.0}


def sent(description: Any) -> Any:
    return json.loads(json.dumps(description))


def assert_equal(one: Draw, other: Draw) -> None:
    """Compare two draws to the bit, with those of their members."""
    assert (one.name, one.rng, one.values.keys()) == (other.name, other.rng, other.values.keys())
    assert np.array_equal(one.chosen, other.chosen)
    assert all(one.values[name].tobytes() == other.values[name].tobytes() for name in one.values)
    for child, same in zip(one.children, other.children, strict=True):
        assert_equal(child, same)


# --- round trips ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGISTRY)
@settings(CASES, max_examples=10 * MANY)
@given(p=st.floats(0, 1), seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 1000))
def test_a_transform_from_json_has_the_same_draws(name: str, p: float, seed: int, epoch: int) -> None:
    transform = REGISTRY[name](p)
    built = build_transform(sent(describe_transform(transform)))
    assert_equal(built.draw(keys(8), seed=seed, epoch=epoch), transform.draw(keys(8), seed=seed, epoch=epoch))
    assert repr(built) == repr(transform)
    assert describe_transform(built) == describe_transform(transform)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_from_json_has_the_same_draws_and_sound(name: str) -> None:
    assert build_transform(sent(describe_transform(name))).draw(["a"]).name == recipe(name).draw(["a"]).name
    transform, waveform = recipe(name), music(1, 6000)
    built = build_transform(sent(describe_transform(transform)))
    for epoch in range(10):
        assert_equal(built.draw(keys(50), epoch=epoch), transform.draw(keys(50), epoch=epoch))
        assert torch.equal(built(waveform, ["a"], epoch=epoch), transform(waveform, ["a"], epoch=epoch))


@pytest.mark.parametrize(
    "features",
    [
        *feature_cases.FEATURES.values(),
        LogMel(
            sample_rate=16000, n_fft=400, hop_length=160, n_mels=40, f_min=20, f_max=7600, compression="db", power=2
        ),
        Frames(sample_rate=8000, hop_length=50, frames=10),
        RawWaveform(frames=3000),
    ],
    ids=lambda features: type(features).__name__,
)
def test_features_from_json_are_equal_to_the_bit(features: nn.Module) -> None:
    description = describe_features(features)
    built: Any = build_features(sent(description))
    waveform = music(2, built.geometry.read_length)
    assert built.geometry == features.geometry
    assert torch.equal(built(waveform), features(waveform))
    assert describe_features(built) == description


def test_numbers_of_numpy_become_numbers_of_json() -> None:
    with untyped():
        features = [cls(sample_rate=np.int64(8000), frames=np.int32(30)) for cls in FEATURES.values()]
        mel = LogMel(f_min=np.float32(20.5), f_max=np.float32(8000), power=np.int64(2))
        transform = OneOf([Gain(np.float32(1.5), np.float64(3.0))], weights=np.array([2]))
    assert [sent(describe_features(made))["frames"] for made in features] == [30] * len(FEATURES)
    assert [sent(describe_features(mel))[name] for name in ("f_min", "f_max", "power")] == [20.5, 8000, 2]
    assert sent(describe_transform(transform)) == {"class": "OneOf", "transforms": [GAIN], "weights": [2.0], "p": 1.0}


def test_names_of_features_stay_names() -> None:
    for name in (*feature_cases.REGISTRY, "own:feature"):
        assert describe_features(name) == name
    assert isinstance(build_features("logmel"), LogMel)
    assert describe_transform("own:recipe") == "own:recipe"


def test_an_object_that_was_used_is_described_as_before(shards: Path) -> None:
    for transform, features in ((recipe("strong"), LogMel(frames=32)), (Gain(), LogMel(frames=32, trainable=True))):
        descriptions = describe_transform(transform), describe_features(features)
        next(iter(Loader(shards, augment=transform, features=features, num_workers=0)))
        transform.eval()(music(2, 4000))
        features.eval()(music(1, 4000))
        assert (describe_transform(transform), describe_features(features)) == descriptions


# --- the convention ---------------------------------------------------------------------------------------------------


def neighbours(value: Any) -> list[Any]:
    """Return other values of an argument; at least one of them should be in its range."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value - 2, value + 2]
    return [0.99 * value, 1.01 * value, value + 0.001] if isinstance(value, float) else []


def built_or_none(build: Callable[[Any], nn.Module], description: Any) -> nn.Module | None:
    try:
        return build(description)
    except UserError:
        return None


@pytest.mark.parametrize("name", [*TRANSFORMS, *FEATURES])
def test_every_argument_of_a_constructor_is_an_attribute_of_the_same_name_and_value(name: str) -> None:
    """Change one argument of a description at a time, and find it in the object that is built."""
    if name in FEATURES:
        described, describe, build = [describe_features(FEATURES[name]())], describe_features, build_features
    else:
        made = [module for make in REGISTRY.values() for module in make(1.0).modules()]
        parts = [module for module in made if type(module).__name__ == name and isinstance(module, Transform)]
        described, describe, build = [*map(describe_transform, parts)], describe_transform, build_transform
    assert described
    for description in described:
        assert isinstance(description, dict)
        assert describe(build(description)) == description
        for argument, value in description.items():
            changed = [{**description, argument: other} for other in neighbours(value)]
            accepted = [(other, made) for other in changed if (made := built_or_none(build, other)) is not None]
            assert accepted or not changed
            assert all(describe(made) == other for other, made in accepted)


def test_all_public_transforms_are_described_except_those_of_other_libraries() -> None:
    assert set(TRANSFORMS.values()) == {*PUBLIC} - {Audiomentations}
    assert set().union(*(classes_in(make(1.0)) for make in REGISTRY.values())) == set(TRANSFORMS.values())
    assert set(FEATURES.values()) == {cls for cls in feature_cases.REGISTRY.values() if isinstance(cls, type)}


# --- objects that are refused -----------------------------------------------------------------------------------------


class Gain2(Gain):
    """A transform of the user's."""


def replaced(module: nn.Module, name: str, value: Any) -> nn.Module:
    setattr(module, name, value)
    return module


def hooked(module: nn.Module) -> nn.Module:
    module.register_forward_hook(print)
    return module


def trained() -> nn.Module:
    features = LogMel(trainable=True)
    with torch.no_grad():
        next(features.parameters()).mul_(1.5)
    return features


OTHERS: dict[str, tuple[Callable[[], Any], str]] = {
    "subclass": (Gain2, "Gain2 cannot be described as JSON, because its class is not one of gtzan_stream's"),
    "member": (lambda: Compose([OneOf([Gain2()])]), "Gain2 cannot be described"),
    "namesake": (type("Gain", (Gain,), {}), "Gain cannot be described as JSON, because its class"),
    "library": (lambda: Audiomentations(np.copy, num_workers=0), "Audiomentations .* holds objects of another library"),
    "own feature": (
        lambda: replaced(nn.Identity(), "geometry", RawWaveform().geometry),
        "Identity cannot be described",
    ),
    "attribute": (lambda: replaced(Gain(), "clip", True), r"Gain .* was changed after it was built \(clip\)"),
    "method": (lambda: Compose([replaced(Gain(), "compute", print)]), r"Compose .*\(transforms.0.compute\)"),
    "weights": (lambda: replaced(OneOf([Gain(), Identity()]), "weights", [1.0, 2.0]), r"OneOf .*\(bounds\)"),
    "no chance": (lambda: replaced(Identity(), "p", 1.0), r"Identity .*\(p\)"),
    "geometry": (lambda: replaced(LogMel(), "geometry", LogMel(frames=3).geometry), r"LogMel .*\(geometry\)"),
    "frames": (lambda: replaced(RawWaveform(), "frames", 3), r"RawWaveform .*\(geometry\)"),
    "buffer": (lambda: replaced(LogMel(), "window", torch.ones(1024)), r"LogMel .*\(window\)"),
    "dtype": (lambda: LogMel().double(), r"LogMel .*\(weights\)"),
    "hook": (lambda: hooked(LogMel()), r"LogMel .*\(_forward_hooks\)"),
    "trained": (trained, r"LogMel .*\(convolution.mel_basis\)"),
    "child": (lambda: replaced(LogMel(), "convolution", nn.Identity()), r"LogMel .*\(convolution\)"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_object_that_its_arguments_do_not_describe_is_refused(name: str) -> None:
    make, message = OTHERS[name]
    thing = make()
    with pytest.raises(UserError, match=f"{message}.*{REMEDY}"):
        (describe_transform if isinstance(thing, Transform) else describe_features)(thing)


def test_an_argument_may_be_changed() -> None:
    gain = Gain(1.0, 2.0)
    gain.p, gain.max_gain = 0.3, 4
    built = build_transform(sent(describe_transform(gain)))
    assert_equal(built.draw(keys(20)), gain.draw(keys(20)))
    assert json.dumps(describe_transform(gain)) == json.dumps({**GAIN, "min_gain": 1.0, "max_gain": 4.0, "p": 0.3})
    gain.p = 7.0
    with pytest.raises(UserError, match=r"Gain: expected 0 <= p <= 1, got p=7\.0"):
        describe_transform(gain)


def test_other_things_are_refused() -> None:
    for thing in (None, Gain, len, 3):
        with untyped(), pytest.raises(UserError, match=r"^(augment|features): "):
            describe_transform(thing)  # type: ignore[arg-type]
        with untyped(), pytest.raises(UserError, match=r"^features: "):
            describe_features(thing)  # type: ignore[arg-type]
    for describe in (describe_transform, describe_features):
        with pytest.raises(UserError, match=r"no augmentation is called 'stduy'|there is no feature 'stduy'"):
            describe("stduy")


# --- functions of other modules ---------------------------------------------------------------------------------------


def test_a_module_is_imported_only_if_the_server_allows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "our_recipes.py").write_text(
        "from gtzan_stream.augment import Gain as quiet\nfrom gtzan_stream.features import Frames as pieces\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, build in (("our_recipes:quiet", build_transform), ("our_recipes:pieces", build_features)):
        for allow in ((), ["our_recipes", "our_recipes:quieter", "our_recipes:pieces_of_it"]):
            with pytest.raises(UserError, match=f"'{name}' is not allowed; start the service with --allow '{name}'"):
                build(name, allow=allow)
    assert "our_recipes" not in sys.modules
    assert isinstance(build_transform("our_recipes:quiet", allow=["our_recipes:quiet"]), Gain)
    assert isinstance(build_features("our_recipes:pieces", allow={"our_recipes:pieces"}), Frames)
    del sys.modules["our_recipes"]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_need_no_permission(name: str) -> None:
    assert isinstance(build_transform(name), Transform)
