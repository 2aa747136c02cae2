"""A loader refuses any wrong state with one line, or loads it and yields the batches after it."""

from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader
from tests.augment_cases import untyped
from tests.conftest import MANY

SIMPLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(0, 100),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from([torch.zeros(2), torch.tensor(8), np.zeros(2), np.int64(8), object(), "three", "train"]),
)
CASES = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
VALUES = st.recursive(SIMPLE, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


@pytest.fixture(scope="module")
def loader(shards) -> Loader:
    return Loader(shards, split="three", part="train", batch_size=8, num_workers=0, shuffle_shards=2)


def load(loader: Loader, state: Any) -> None:
    """Load a state without type checks; a refusal must be one line and leave the loader unchanged."""
    before = loader.state_dict()
    try:
        with untyped():
            loader.load_state_dict(state)
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000  # noqa: PT017, PT018
        assert loader.state_dict() == before
        return
    assert loader.state_dict() == state
    batch = next(iter(loader))
    assert batch.epoch == state["epoch"]
    assert loader.state_dict()["examples_consumed"] in (state["examples_consumed"] + 8, 0)


@settings(CASES, max_examples=100 * MANY)
@given(changes=st.dictionaries(st.integers(0, 8), VALUES, min_size=1, max_size=3))
@example(changes={0: 2**70})
@example(changes={0: 3, 1: 8})
@example(changes={4: np.array([8, 8])})
def test_a_state_with_other_values_is_refused_or_loaded(loader, changes):
    state = dict(loader.state_dict())
    names = list(state)
    load(loader, state | {names[index]: value for index, value in changes.items()})


@settings(CASES, max_examples=60 * MANY)
@given(state=VALUES, removed=st.sets(st.integers(0, 8)))
def test_anything_but_a_state_is_refused(loader, state, removed):
    own = loader.state_dict()
    remaining = {name: value for index, (name, value) in enumerate(own.items()) if index not in removed}
    for other in (state, remaining, remaining | (state if isinstance(state, dict) else {})):
        load(loader, other)


def test_a_state_that_is_loaded_during_an_iteration_is_where_the_next_one_starts(shards):
    loader, other = (Loader(shards, batch_size=8, seed=3, num_workers=0) for _ in range(2))
    state = [other.state_dict() for _ in islice(other, 3)][-1]
    for number, _ in enumerate(loader):
        if number == 1:
            loader.load_state_dict(state)
    assert loader.state_dict() == state
    assert [batch.keys for batch in loader] == [batch.keys for batch in other][3:]
    assert len(list(loader)) == len(loader)
