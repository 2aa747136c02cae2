"""Objects built by name: from a registry, or from a user's own module."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel, build, n_rows

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["spectrum", "tests", ":build", "tests:"])
def test_the_error_of_an_unknown_name_lists_the_known_ones(name: str) -> None:
    with pytest.raises(
        UserError, match=rf"there is no feature '{name}'; there are .*logmel, waveform, .*module:function"
    ):
        build(name)


def own(frames: int = 3) -> nn.Module:
    """Build a feature as a user's module would."""
    return LogMel(n_mels=40, frames=frames)


def no_module(frames: int) -> Callable[[], None]:
    return lambda: None


def failing(frames: int) -> nn.Module:
    return LogMel(frames=frames // 0)


def in_colour(frames: int, colour: str) -> nn.Module:
    return LogMel()


def test_a_function_in_a_users_module_builds_a_feature() -> None:
    assert n_rows(build("tests.test_registry:own", frames=7), CPU) == 40


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("no_module", "got function"),
        ("nothing", r"test_registry\.py has no nothing"),
        ("failing", "tests.test_registry:failing failed: ZeroDivisionError: "),
        ("CPU", "expected a function or a class, got device"),
        ("in_colour", "the function is called with frames, but missing a required argument: 'colour'"),
    ],
)
def test_the_error_says_what_is_wrong_with_the_function(function: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(f"tests.test_registry:{function}", frames=3)


def test_a_missing_module_is_named() -> None:
    with pytest.raises(UserError, match=r"no_such_module.*, and run this in the folder that holds it"):
        build("no_such_module:own")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import no_such_library", "No module named 'no_such_library'; broken_work imports it, so install it"),
        ("def own(:", "SyntaxError on import"),
        ("1 / 0", "ZeroDivisionError on import: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_user_error(content: str, message: str, tmp_path, monkeypatch) -> None:
    (tmp_path / "broken_work.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=message):
        build("broken_work:own")
