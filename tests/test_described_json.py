"""Descriptions of transforms and features that are wrong, too large or random are refused with one line."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gtzan_stream.augment import Compose, Gain, Transform
from gtzan_stream.augment.recipes import names
from gtzan_stream.described import (
    FEATURES,
    MAX_DEPTH,
    MAX_TRANSFORMS,
    TRANSFORMS,
    build_features,
    build_transform,
    describe_features,
    describe_transform,
)
from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from tests import feature_cases
from tests.augment_cases import REGISTRY
from tests.conftest import MANY

CASES = settings(deadline=None, derandomize=True)
IDENTITY = {"class": "Identity"}
GAIN = {"class": "Gain", "min_gain": 1.5, "max_gain": 3.0, "logarithmic": False, "p": 1.0}
LOGMEL = describe_features(LogMel())


def nested(depth: int) -> Any:
    description: Any = IDENTITY
    for _ in range(depth - 1):
        description = {"class": "Compose", "transforms": [description], "p": 1.0}
    return description


def many(n: int) -> Any:
    return {"class": "Compose", "transforms": [IDENTITY] * (n - 1), "p": 1.0}


def test_depth_and_number_are_limited() -> None:
    for description in (nested(MAX_DEPTH), many(MAX_TRANSFORMS)):
        assert describe_transform(build_transform(description)) == description
    for description in (nested(MAX_DEPTH + 1), nested(50_000), many(MAX_TRANSFORMS + 1), many(10**6)):
        with pytest.raises(UserError, match="holds 256 transforms, nested 16 deep, at most"):
            build_transform(description)


@pytest.mark.parametrize("chain", [Compose([Gain()] * MAX_TRANSFORMS), Compose([Compose([Gain()] * 20)] * 20)])
def test_a_chain_that_is_too_large_is_refused(chain: Transform) -> None:
    with pytest.raises(UserError, match=r"holds 256 transforms, nested 16 deep, at most.*--allow module:function"):
        describe_transform(chain)


def deep_list(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


assert isinstance(LOGMEL, dict)
WRONG: list[tuple[Any, str]] = [
    (None, "expected a name or a description with one of the classes Compose, .*got None"),
    ({"class": "Louder"}, "got 'Louder'"),
    ({"class": "Audiomentations"}, "got 'Audiomentations'.*--allow module:function"),
    ({"class": "Transform", "p": 1.0}, "got 'Transform'"),
    ({"class": ["Gain"]}, r"got \['Gain'\]"),
    ({"class": "LogMel"}, "got 'LogMel'"),
    ({"class": "Gain"}, r"a description of Gain has arguments min_gain, max_gain, logarithmic, p, got \[\]"),
    ({**IDENTITY, "p": 0.0}, r"a description of Identity has no arguments, got \['p'\]"),
    ({**GAIN, "p": True}, "Gain: p must be a finite number, got True"),
    ({**GAIN, "p": "0.5"}, "Gain: p must be a finite number, got '0.5'"),
    ({**GAIN, "p": 1.5}, "Gain: expected 0 <= p <= 1"),
    ({**GAIN, "max_gain": float("nan")}, "max_gain must be a finite number, got nan"),
    ({**GAIN, "max_gain": float("inf")}, "max_gain must be a finite number, got inf"),
    ({**GAIN, "max_gain": 10**400}, "max_gain must be a finite number, got 10000"),
    ({**GAIN, "max_gain": 10**5000}, "max_gain must be a finite number, got int with too many digits"),
    ({**GAIN, "min_gain": -1.0}, "Gain: expected min_gain <= max_gain"),
    ({**GAIN, "min_gain": 10**308, "max_gain": 10**307}, r"got min_gain=1e\+308, max_gain=1e\+307"),
    ({**GAIN, "min_gain": deep_list(50_000)}, "min_gain must be a finite number"),
    ({**GAIN, "logarithmic": 1}, "logarithmic must be true or false, got 1"),
    ({"class": "TimeShift", "min_shift": 0, "max_shift": True, "p": 1.0}, "max_shift must be a whole number"),
    ({"class": "TimeShift", "min_shift": 0, "max_shift": 5.0, "p": 1.0}, "max_shift must be a whole number"),
    ({"class": "TimeShift", "min_shift": 0, "max_shift": 2**80, "p": 1.0}, "max_shift must be a whole number"),
    ({"class": "TimeShift", "min_shift": 0, "max_shift": 2**40, "p": 1.0}, "TimeShift: expected min_shift <="),
    ({"class": "TimeStretch", "min_rate": 1, "max_rate": 1, "method": "x" * 10**6, "p": 1}, "locked or vocoder"),
    ({"class": "TimeStretch", "min_rate": 1, "max_rate": 1, "method": 3, "p": 1}, "method must be a text, got 3"),
    ({"class": "Compose", "transforms": IDENTITY, "p": 1.0}, "transforms must be a list"),
    ({"class": "Compose", "transforms": ["os:getcwd"], "p": 1.0}, "got 'os:getcwd'"),
    ({"class": "OneOf", "transforms": [IDENTITY], "weights": [1.0] * 10**4, "p": 1.0}, "got 1 transforms and weights="),
    ({"class": "OneOf", "transforms": [IDENTITY], "weights": [True], "p": 1.0}, "weights must be a finite number"),
    ({"class": "OneOf", "transforms": [IDENTITY] * 2, "weights": [1e308] * 2, "p": 1.0}, "OneOf: expected"),
    ("x" * 10**6, "no augmentation is called 'xxx"),
    ("a:b" * 10**6, "'a:ba:b.* is not allowed"),
    ("\ud800", r"no augmentation is called '\\ud800'"),
    ({**LOGMEL, "n_fft": 2**30}, "LogMel: n_fft must be at most 1048576"),
    ({**LOGMEL, "n_fft": 2**20}, "LogMel: a mel basis .* numbers"),
    ({**LOGMEL, "n_mels": 2**14}, "LogMel: .* bands would hold no frequency bin"),
    ({**LOGMEL, "n_fft": 2**15, "trainable": True}, "LogMel: trainable kernels .* numbers"),
    ({**LOGMEL, "frames": 2**31}, "LogMel: frames must be at most"),
    ({**LOGMEL, "f_max": 1e-320}, "LogMel: .* bands would hold no frequency bin"),
    ({**LOGMEL, "compression": "mp3"}, "compression must be one of log10, db, got 'mp3'"),
    ({**LOGMEL, "trainable": "no"}, "trainable must be true or false"),
    ({**LOGMEL, "n_fft": 1023}, "LogMel: n_fft must be even"),
    ({"class": "RawWaveform", "sample_rate": 22050, "frames": 10**9}, "RawWaveform: a crop of"),
]


@pytest.mark.parametrize(("description", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_wrong_descriptions_are_refused_with_one_line(description: Any, message: str) -> None:
    is_feature = isinstance(description, dict) and len(description) > 1 and str(description["class"]) in FEATURES
    build = build_features if is_feature else build_transform
    with pytest.raises(UserError, match=message) as caught:
        build(description)
    assert_one_line(caught.value)


def test_the_name_of_a_feature_is_refused_with_one_line() -> None:
    for name in ("stduy", "x" * 10**6, "a:b" * 10**6, "\ud800"):
        with pytest.raises(UserError, match=r"there is no feature|is not allowed") as caught:
            build_features(name)
        assert_one_line(caught.value)


def assert_one_line(error: Exception) -> None:
    assert str(error).isprintable()
    assert len(str(error)) < 600


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 3)
    | st.sampled_from([2**20, 2**31, 2**63, 10**400, 1e-320, 1e308])
    | st.floats()
    | st.floats(0, 2)
    | st.text(max_size=9)
    | st.sampled_from([*TRANSFORMS, *FEATURES, *names(), "os:getcwd", "class", "locked", "db"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["class", "transforms", "p", "weights", "frames"]) | st.text(), inner, max_size=4
        )
    ),
    max_leaves=20,
)
VALID = [describe_transform(make(0.5)) for make in REGISTRY.values()]
VALID += [describe_features(features) for features in feature_cases.FEATURES.values()]


def containers(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each place of a JSON value: the list or object that holds it, and its index or key there."""
    for key in list(value) if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0):
        yield value, key
        yield from containers(value[key])


def build_or_refuse(description: Any) -> None:
    for build, describe in ((build_transform, describe_transform), (build_features, describe_features)):
        try:
            built = build(description)
        except UserError as error:
            assert_one_line(error)
        else:
            if not isinstance(description, str) and None not in description.values():  # None may become a number
                assert describe(built) == description


@settings(CASES, max_examples=200 * MANY)
@given(description=JSON)
def test_any_json_is_built_or_refused(description: Any) -> None:
    build_or_refuse(description)


@settings(CASES, max_examples=400 * MANY)
@given(
    description=st.sampled_from(VALID),
    changes=st.lists(st.tuples(st.integers(0, 60), st.none() | JSON, st.booleans()), min_size=1, max_size=3),
)
@example(description=LOGMEL, changes=[(8, 1e-320, False)])
def test_a_changed_description_is_built_or_refused(description: Any, changes: list[tuple[int, Any, bool]]) -> None:
    description = copy.deepcopy(description)
    for number, value, is_removed in changes:
        places = list(containers(description))
        holder, key = places[number % len(places)]
        if is_removed:
            del holder[key]
        else:
            holder[key] = value
        if not description:
            break
    build_or_refuse(description)
