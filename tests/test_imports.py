"""Imports point downward, no file is long, and optional libraries are imported only where they are used."""

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.house import FILES, GROUND, HOUSE, ROOT, imported_modules, room_of

EVERY_FILE = sorted(
    path
    for folder in ("gtzan_stream", "models", "benchmarks", "examples", "tests", ".")
    for path in (ROOT / folder).glob("*.py")
)
EVERY_FILE += sorted(path for path in (*FILES, *(ROOT / "benchmarks/lib").glob("*.py")) if path not in EVERY_FILE)
MAX_LINES = 270
DATA_TABLES = {"gtzan_stream/demo/styles.py"}


def file_of(name: str) -> Path | None:
    """Return the file of the package that an imported name comes from; it is a module or defined in one."""
    for module in (name, name.rpartition(".")[0]):
        path = ROOT / Path(*module.split("."))
        for found in (path.with_suffix(".py"), path / "__init__.py"):
            if found.is_file():
                return found
    return None


def test_there_are_files() -> None:
    assert len(FILES) > 80
    assert len(EVERY_FILE) > 180
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert rooms == {*HOUSE, *GROUND}, "add the room to tests/house.py"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downward(path: Path) -> None:
    room = room_of(path)
    for name in imported_modules(path):
        parts = name.split(".")
        assert parts[0] not in {"models", "train", "benchmarks"}, (
            f"{path} imports {name}: programs are above the package"
        )
        if parts[0] != "gtzan_stream" or room == "__init__" or parts[1] == "__version__":
            continue
        if parts[1] in GROUND:
            assert room != "kernels", f"{path}: kernels import kernels only"
        else:
            assert room not in GROUND, f"{path} imports {name}: the ground imports only the ground"
            assert parts[1] == room or HOUSE.index(parts[1]) > HOUSE.index(room), (
                f"{path} imports {name}, which points up"
            )


def test_there_are_no_circular_imports() -> None:
    graph = {}
    for path in FILES:
        if path != ROOT / "gtzan_stream" / "__init__.py":  # imports lazily, by name
            own = (file_of(name) for name in imported_modules(path) if name.startswith("gtzan_stream."))
            graph[path] = {found for found in own if found and found != ROOT / "gtzan_stream" / "__init__.py"}
    assert sum(map(len, graph.values())) > 200
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError for circular imports


@pytest.mark.parametrize("path", sorted((ROOT / "models").rglob("*.py")), ids=lambda p: p.name)
def test_models_do_not_import_the_package(path: Path) -> None:
    for name in imported_modules(path):
        assert not name.startswith("gtzan_stream"), f"{path} imports {name}: models/ knows nothing of gtzan_stream"


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_benchmarks_import_only_the_package_and_their_library(path: Path) -> None:
    for name in imported_modules(path):
        assert name.split(".")[0] != "train", f"{path} imports {name}: benchmarks import the package"
        if name.startswith("benchmarks"):
            assert name.startswith("benchmarks.lib"), f"{path} imports {name}: programs do not import each other"


@pytest.mark.parametrize(
    ("library", "room"), [("soundfile", "audio"), ("soxr", "audio"), ("triton", "kernels"), ("ray", "service")]
)
def test_only_one_room_imports_a_library(library: str, room: str) -> None:
    for path in FILES:
        if room_of(path) != room:
            assert library not in {name.split(".")[0] for name in imported_modules(path)}, f"{path} imports {library}"


@pytest.mark.parametrize("room", ["store", "dsp", "augment", "features", "loader", "batch_maker", "inference"])
def test_only_programs_print(room: str) -> None:
    for path in FILES:
        if room_of(path) == room:
            assert "rich" not in {name.split(".")[0] for name in imported_modules(path)}, f"{path} imports rich"


def test_no_file_is_long() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in EVERY_FILE}
    long = {name: lines for name, lines in long.items() if lines > MAX_LINES and name not in DATA_TABLES}
    assert not long, f"over {MAX_LINES} lines: {long}"


OPTIONAL = ["torchaudio", "audiomentations", "librosa", "torchvision"]


def test_no_optional_library_is_imported_before_it_is_used() -> None:
    modules = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if "triton_" not in path.name and path.name != "on_ray.py"  # they need Triton and Ray
    )
    program = f"import sys, importlib; [importlib.import_module(name) for name in {modules!r}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    loaded = set(done.stdout.split())
    assert "gtzan_stream.training.network" in loaded
    assert not loaded & set(OPTIONAL)
