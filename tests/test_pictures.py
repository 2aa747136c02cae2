"""The pictures of the documents show what the code computes now."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from benchmarks import pictures

STORED = json.loads((pictures.FOLDER / "pictures.json").read_text())
REMEDY = "run python benchmarks/pictures.py"


@pytest.fixture(scope="module")
def drawn() -> dict[str, dict[str, pictures.Sound]]:
    return pictures.sounds()


def test_the_pictures_are_of_this_program():
    assert STORED["source"] == pictures.source_digest(), REMEDY


def test_the_pictures_show_what_the_augmentations_compute(drawn):
    computed = pictures.figures(drawn)
    assert [(name, list(of)) for name, of in STORED["figures"].items()] == [(n, list(of)) for n, of in computed.items()]
    for name, of_name in computed.items():
        for words, numbers in of_name.items():
            for key, value in numbers.items():
                stored = STORED["figures"][name][words][key]
                np.testing.assert_allclose(stored, value, rtol=0.02, atol=1e-3, err_msg=f"{words}: {REMEDY}")


def test_the_numbers_tell_strengths_apart(drawn):
    for name, of_name in pictures.figures(drawn).items():
        shown = [np.hstack([*map(np.atleast_1d, numbers.values())]) for numbers in of_name.values()]
        for i, one in enumerate(shown):
            for other in shown[:i]:
                assert not np.allclose(one, other, rtol=0.02, atol=1e-3), name


def test_every_augmentation_has_a_picture_and_a_section():
    page = (pictures.FOLDER.parent / "augmentations.md").read_text()
    for transform in pictures.SHOWN:
        name = type(transform).__name__
        assert f"## {name}" in page
        assert f"![{name}](pictures/{name}.png)" in page.replace("\n", "").replace("  ", "")
        height, width = imread(pictures.FOLDER / f"{name}.png").shape[:2]
        assert width > 2 * height


def test_pictures_can_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn):
    monkeypatch.setattr(pictures, "sounds", lambda: {"Gain": drawn["Gain"]})
    pictures.main(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"Gain.png", "augmentations.png", "pictures.json"}
    white = (imread(tmp_path / "Gain.png")[:, :, :3] == 1).all(2).mean()
    assert 0.1 < white < 0.7
