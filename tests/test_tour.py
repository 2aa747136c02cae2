"""The notebook examples/tour.ipynb is stored without outputs, and all of its cells run."""

import base64
import io
import json
import re
import warnings
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import need
from tests.house import ROOT

TOUR = ROOT / "examples/tour.ipynb"
CELLS = json.loads(TOUR.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def is_install(cell: dict[str, Any]) -> bool:
    return "install" in cell["metadata"].get("tags", [])


def test_the_tour_is_stored_without_outputs() -> None:
    assert len(CODE) > 8
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CODE)
    assert all(cell["metadata"].keys() <= {"tags"} for cell in CELLS)


def test_the_tour_begins_with_the_installation() -> None:
    assert is_install(CODE[0])
    assert "".join(CODE[0]["source"]) == "%pip install -q .."
    assert (TOUR.parent / ".." / "setup.cfg").is_file(), "the folder that it installs"
    assert not any("pip install" in "".join(cell["source"]) for cell in CODE[1:])


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The outputs of all cells but the installation, run in an empty folder with this checkout's package."""
    nbclient, nbformat = need("nbclient"), need("nbformat")
    need("ipykernel")
    tour = nbformat.read(TOUR, as_version=4)
    tour.cells = [cell for cell in tour.cells if not is_install(cell)]
    folder = tmp_path_factory.mktemp("tour")
    client = nbclient.NotebookClient(tour, timeout=250, resources={"metadata": {"path": str(folder)}})
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the kernel's client
        patch.setenv("PYTHONPATH", str(ROOT))
        client.execute()
    return [output for cell in tour.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.slow
def test_the_tour_plays_three_sounds_and_draws_three_figures(outputs: list[dict[str, Any]]) -> None:
    data = [output["data"] for output in outputs if "data" in output]
    figures = [base64.b64decode(item["image/png"]) for item in data if "image/png" in item]
    sounds = [sound for item in data for sound in re.findall(r"audio/wav;base64,([^\"]+)", item.get("text/html", ""))]
    assert len(figures) == len(sounds) == 3
    assert min(map(len, figures)) > 5000
    dry, wet, up = (samples_of(base64.b64decode(sound)) for sound in sounds)
    assert len(dry) == len(wet) == len(up) == 66048
    assert np.abs(dry - wet).mean() > 0.01
    assert np.abs(dry - up).mean() > 0.01


def samples_of(data: bytes) -> np.ndarray:
    samples, sample_rate = soundfile.read(io.BytesIO(data))
    assert sample_rate == 22050
    return samples


@pytest.mark.slow
def test_the_tour_reproduces_resumes_and_learns(outputs: list[dict[str, Any]]) -> None:
    text = "".join(output["text"] for output in outputs if output.get("name") == "stdout")
    assert "the same epoch, the same features: True" in text
    assert "the next epoch, the same features: False" in text
    assert "the fourth batch is the same: True" in text
    percent = re.search(r"(\d+)% of 160 chunks of the validation part are correct", text)
    assert percent
    assert int(percent[1]) > 30, "10 % is a guess"
    errors = [output for output in outputs if output.get("name") == "stderr" or output["output_type"] == "error"]
    assert errors == []
