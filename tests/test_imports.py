"""The house: imports point downward only, and kernels stand on nothing of ours."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = [
    "cli",
    "training",
    "loader",
    "prefetch",
    "batches",
    "crops",
    "augment",
    "features",
    "normalization",
    "plan",
    "store",
]
HOUSE += ["catalog", "audio", "dsp", "kernels"]
GROUND = {"shapes", "errors", "threads"}  # importable from every floor
FILES = sorted((ROOT / "gtzan_stream").rglob("*.py"))


def floor(module: str) -> int:
    return HOUSE.index(module)


def imported_modules(path: Path) -> list[str]:
    """Absolute names of every module a file imports, inside functions too."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def test_there_are_files() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downward(path: Path) -> None:
    room = path.relative_to(ROOT / "gtzan_stream").parts[0].removesuffix(".py")
    for name in imported_modules(path):
        parts = name.split(".")
        assert parts[0] not in {"models", "train", "benchmarks"}, f"{path} imports {name}: the programs stand above us"
        if parts[0] != "gtzan_stream" or room == "__init__":
            continue
        if parts[1] in GROUND:
            assert room != "kernels", f"{path}: kernels import nothing of ours"
        elif parts[1] != "__version__":
            assert room not in GROUND, f"{path} imports {name}: the ground imports nothing of ours"
            inside = parts[1] == room and room != "kernels"
            assert inside or floor(parts[1]) > floor(room), f"{path} imports {name}, which points up"


@pytest.mark.parametrize("path", sorted((ROOT / "models").rglob("*.py")), ids=lambda p: p.name)
def test_models_stand_alone(path: Path) -> None:
    for name in imported_modules(path):
        assert not name.startswith("gtzan_stream"), f"{path} imports {name}: models/ knows nothing of gtzan_stream"


@pytest.mark.parametrize(("library", "room"), [("soundfile", "audio"), ("soxr", "audio"), ("triton", "kernels")])
def test_only_one_room_knows(library: str, room: str) -> None:
    for path in FILES:
        here = path.relative_to(ROOT / "gtzan_stream").parts[0].removesuffix(".py")
        if here != room:
            assert library not in {name.split(".")[0] for name in imported_modules(path)}, f"{path} imports {library}"


OPTIONAL = ["torchaudio", "audiomentations", "librosa", "torchvision"]


def test_no_optional_library_is_imported_before_it_is_used() -> None:
    modules = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES if "triton_" not in path.name
    )
    program = f"import sys, importlib; [importlib.import_module(name) for name in {modules!r}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    loaded = set(done.stdout.split())
    assert "gtzan_stream.training.network" in loaded
    assert not loaded & set(OPTIONAL)
