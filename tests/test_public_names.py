"""The public names of the package: listed once, found by dir(), and imported when they are used."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import gtzan_stream

ROOT = Path(__file__).parent.parent


def test_dir_lists_the_public_names_before_they_are_imported() -> None:
    code = "import sys, gtzan_stream; print(*dir(gtzan_stream)); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    names, loaded = done.stdout.splitlines()
    assert set(gtzan_stream.__all__) | {"__version__"} <= set(names.split())
    assert loaded == "False"


@pytest.mark.parametrize("name", gtzan_stream.__all__)
def test_every_public_name_is_found_and_described(name: str) -> None:
    found = getattr(gtzan_stream, name)
    assert found is getattr(importlib.import_module(found.__module__), name)
    assert found.__doc__


def test_public_names_are_sorted_and_each_has_a_module() -> None:
    assert gtzan_stream.__all__ == sorted(gtzan_stream._HOME)


def test_every_name_in_dir_exists() -> None:
    assert [name for name in dir(gtzan_stream) if not hasattr(gtzan_stream, name)] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'gtzan_stream' has no attribute 'Lodaer'"):
        _ = gtzan_stream.Lodaer
