"""Objects by name: of a registry, or of a module of one's own."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel, build, n_rows

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["spectrum", "tests", ":build", "tests:"])
def test_an_unknown_name_lists_the_known(name: str) -> None:
    with pytest.raises(
        UserError, match=rf"there is no feature '{name}'; there are logmel, waveform, .*module:function"
    ):
        build(name)


def own(frames: int = 3) -> nn.Module:
    """A feature of somebody's own."""
    return LogMel(n_mels=40, frames=frames)


def no_module(frames: int) -> Callable[[], None]:
    return lambda: None


def failing(frames: int) -> nn.Module:
    return LogMel(frames=frames // 0)


def in_colour(frames: int, colour: str) -> nn.Module:
    return LogMel()


def test_a_feature_of_ones_own_by_module_and_function() -> None:
    assert n_rows(build("tests.test_registry:own", frames=7), CPU) == 40


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("no_module", "got function"),
        ("nothing", r"test_registry\.py has no nothing"),
        ("failing", "tests.test_registry:failing failed: ZeroDivisionError: "),
        ("CPU", "expected a function or a class, got device"),
        ("in_colour", "it is called with frames, but missing a required argument: 'colour'"),
    ],
)
def test_what_is_wrong_with_a_function_is_said(function: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(f"tests.test_registry:{function}", frames=3)


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"no_such_module.*in the folder that holds the module"):
        build("no_such_module:own")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import no_such_library", "No module named 'no_such_library'; broken_work imports it: install it"),
        ("def own(:", "SyntaxError in importing it"),
        ("1 / 0", "ZeroDivisionError in importing it: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported_is_a_sentence(content: str, message: str, tmp_path, monkeypatch) -> None:
    (tmp_path / "broken_work.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=message):
        build("broken_work:own")
