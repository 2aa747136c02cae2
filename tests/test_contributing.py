"""The examples of CONTRIBUTING.md and docs/ are added to a copy of the repository, where the tests must pass."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.test_packaging import sources

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
CHANGES = dict(re.findall(r"```diff\n--- (\S+)\n(.*?)```", PAGE, re.DOTALL))
ADDED = ["polarity", "quiet", "pooled", "level", "trial", "voc"]
PAGES = "".join((ROOT / "docs" / page).read_text() for page in ("augmentations.md", "training.md"))
DOCUMENTED = re.findall(r"```python\n(.*?)```", PAGES, re.DOTALL)


def changed(text: str, change: str) -> str:
    """Apply a diff: lines that start with a space give the position, + adds a line there, - removes a line."""
    lines, position = text.splitlines(), 0
    for line in change.splitlines():
        sign, content = line[:1], line[1:]
        if sign == "+":
            lines.insert(position, content)
            position += 1
        else:
            assert lines.count(content) == 1, f"{content!r} occurs {lines.count(content)} times"
            position = lines.index(content)
            lines[position : position + 1] = [] if sign == "-" else [content]
            position += sign != "-"
    return "\n".join(lines) + "\n"


def copied(folder: Path, files: dict[str, str], changes: dict[str, str]) -> Path:
    """Copy the repository, add `files`, and apply `changes` to others."""
    for name in sources():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name, text in files.items():
        assert not (folder / name).exists()
        (folder / name).write_text(text)
    for name, change in changes.items():
        (folder / name).write_text(changed((folder / name).read_text(), change))
    return folder


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with everything that CONTRIBUTING.md adds."""
    return copied(tmp_path_factory.mktemp("contributing"), EXAMPLES, CHANGES)


@pytest.fixture(scope="module")
def copy_with_readme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the transform and the network of the pages."""
    (transform,) = (block for block in DOCUMENTED if "class Invert(Transform)" in block)
    (network,) = (block for block in DOCUMENTED if "def tiny(" in block)
    (entry,) = re.findall(r"# in REGISTRY: +(.*)", network)
    public = "from gtzan_stream.augment import Transform"  # files of the package import from augment.base instead
    assert public in transform
    files = {"gtzan_stream/augment/invert.py": transform.replace(public, public.replace("augment", "augment.base"))}
    changes = {
        "gtzan_stream/augment/__init__.py": """
 from gtzan_stream.augment.gain import Gain
+from gtzan_stream.augment.invert import Invert
     "Identity",
+    "Invert",
"""
    }
    changes["models/__init__.py"] = f"""
 from models.spec import Spec
+from models.tiny import tiny
     "crnn_time": Spec(build=crnn_time),
+    {entry}
"""
    files["models/tiny.py"] = network
    changes = {name: change.lstrip("\n") for name, change in changes.items()}
    return copied(tmp_path_factory.mktemp("readme"), files, changes)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    environment.pop("GTZAN_STREAM_TEST_ALL", None)
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_there_is_an_example_of_each_kind() -> None:
    assert len(EXAMPLES) == 3
    assert len(CHANGES) == 6
    assert all(any(name in text for text in (*EXAMPLES.values(), *CHANGES.values())) for name in ADDED)


def test_the_examples_can_be_applied_and_are_python(copy: Path, copy_with_readme: Path) -> None:
    for name in (*EXAMPLES, *CHANGES):
        ast.parse((copy / name).read_text(), filename=name)
    for name in ("gtzan_stream/augment/invert.py", "models/tiny.py", "models/__init__.py"):
        ast.parse((copy_with_readme / name).read_text(), filename=name)


def test_the_page_links_to_its_neighbours_headings() -> None:
    headings = re.findall(r"^#+ (.*)$", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    linked = set(re.findall(r"docs/architecture\.md#([\w-]+)", PAGE))
    linked |= set(re.findall(r"\]\(#([\w-]+)\)", (ROOT / "docs/architecture.md").read_text()))
    assert len(linked) > 5
    assert linked <= anchors


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_linters_and_types_accept_the_examples(copy: Path) -> None:
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        done = run(copy, *command)
        assert done.returncode == 0, done.stdout


TRANSFORMS = [
    f"tests/test_{name}.py" for name in ("augment_properties", "augment_modes", "compile", "copies", "described")
]
NETWORKS = [f"tests/test_{name}.py" for name in ("models", "export", "training_sizes")]
FEATURES = [f"tests/test_{name}.py" for name in ("feature_registry", "augment_modes", "copies", "described")]
LISTS = [f"tests/test_{name}.py" for name in ("recipes", "pack_splits", "registry", "training", "train_splits")]
HOUSE = [f"tests/test_{name}.py" for name in ("imports", "architecture", "docs", "random_names", "public_names")]
DOCTESTS = [name for name in EXAMPLES if name.startswith("gtzan_stream")]


def test_the_page_names_the_tests_that_cover_an_addition() -> None:
    sections = {section.splitlines()[0]: section for section in PAGE.split("\n## ")}
    for kind, tests in {"transform": TRANSFORMS, "network": NETWORKS, "feature": FEATURES}.items():
        assert [name for name in tests if name not in sections[f"Add a {kind}"]] == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("tests", "name", "min_passed"),
    [
        (TRANSFORMS, "Polarity", 20),
        (NETWORKS, "pooled", 6),
        (FEATURES, "level", 10),
        (LISTS, "", 60),
        (HOUSE, "", 300),
        (DOCTESTS, "", 2),
    ],
    ids=["transform", "network", "feature", "lists", "house", "doctests"],
)
def test_the_tests_pass_with_the_examples(tests: list[str], name: str, min_passed: int, copy: Path) -> None:
    check_tests(copy, tests, name, min_passed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("tests", "name", "min_passed"), [(TRANSFORMS, "Invert", 20), (NETWORKS, "tiny", 6), (HOUSE, "", 300)]
)
def test_the_tests_pass_with_what_the_readme_shows(
    tests: list[str], name: str, min_passed: int, copy_with_readme: Path
) -> None:
    check_tests(copy_with_readme, tests, name, min_passed)


def check_tests(folder: Path, tests: list[str], name: str, min_passed: int) -> None:
    """Run the tests whose ID contains `name`; each file must have some, and `min_passed` must pass in all."""
    done = run(folder, "pytest", "-p", "no:cacheprovider", "-rA", "-k", name, *tests)
    assert done.returncode == 0, done.stdout
    assert all(file in done.stdout for file in tests), done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) >= min_passed, done.stdout


@pytest.mark.slow
def test_the_new_names_can_be_imported(copy: Path) -> None:
    program = """
import models
from gtzan_stream import audio
from gtzan_stream.augment import Polarity, recipe
from gtzan_stream.catalog.splits import PUBLISHED
from gtzan_stream.features import build
assert recipe("quiet") and Polarity() and build("level") and models.build("pooled", 3) and PUBLISHED["trial"]()
assert ".voc" in audio.SUFFIXES
"""
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    subprocess.run([sys.executable, "-c", program], cwd=copy, env=environment, check=True)
