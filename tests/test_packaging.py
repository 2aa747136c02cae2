"""The source distribution holds the repository and nothing else; the wheel holds the package and works by itself."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import gtzan_stream
from gtzan_stream.errors import UserError
from gtzan_stream.store.manifest import Manifest
from tests.conftest import need

ROOT = Path(__file__).parent.parent
GENERATED = {"PKG-INFO"}
FOLDERS = ("models", "benchmarks", "docs", "examples", "tests", "gtzan_stream", ".ci", ".github")
PRIVATE = ["clip.wav", "notes.txt", "shards/demo-000000.tar", "runs/one/best.pt", ".venv/pyvenv.cfg", "preview.png"]
PRIVATE += ["examples/.ipynb_checkpoints/tour-checkpoint.ipynb", "examples/tour-shards/demo-000000.tar"]
PRIVATE += [
    f"{folder}/{name}" for folder in FOLDERS for name in ("clip.wav", "__pycache__/x.pyc", ".DS_Store", "a.tar")
]
"""Files that may lie in a checkout but must not be packaged."""
OPTIONAL = [
    "av",
    "audiomentations",
    "librosa",
    "lightning",
    "beartype",
    "hypothesis",
    "threadpoolctl",
    "s3fs",
    "tensorboard",
]
"""Optional libraries, which are hidden from the installed wheel because the tests' environment may have them."""


def sources() -> set[str]:
    """List the files of the repository, or of the source distribution if the tests run in an unpacked one."""
    git = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    listed = ROOT / "gtzan_stream.egg-info" / "SOURCES.txt"
    names = git.stdout.split("\0") if git.stdout else listed.read_text().splitlines()
    names = [name for name in names if name and name not in GENERATED and ".egg-info/" not in name]
    return {name for name in names if (ROOT / name).is_file()}


def build(kind: str, source: Path, out: Path) -> Path:
    """Build an "sdist" or a "wheel" as pip and build do, but with the installed setuptools, so without network."""
    need("setuptools")
    out.mkdir()
    program = f"import setuptools.build_meta as backend; backend.build_{kind}({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Deprecat" not in done.stderr
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution of a checkout that also contains private files."""
    folder = tmp_path_factory.mktemp("packaging")
    for name in [*sources(), *PRIVATE]:
        path = folder / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in PRIVATE:
            path.write_bytes(b"private")
        else:
            shutil.copy(ROOT / name, path)
    with tarfile.open(build("sdist", folder / "checkout", folder / "sdist")) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"gtzan_stream-{gtzan_stream.__version__}"


@pytest.fixture(scope="module")
def wheel(unpacked: Path) -> Path:
    """The wheel that pip makes of the source distribution."""
    copy = unpacked.parent / "to-build"
    shutil.copytree(unpacked, copy)
    return build("wheel", copy, unpacked.parent / "wheel")


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_the_source_distribution_holds_the_repository_and_nothing_else(unpacked: Path):
    found = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    found = {name for name in found if ".egg-info/" not in name} - GENERATED
    assert len(found) > 300
    assert found == sources()
    assert (unpacked / ".ci/run").stat().st_mode & 0o100, "it must be executable"


def named_paths(text: str) -> set[str]:
    """Find the paths of this repository that a document links to, runs with Python or has in backticks."""
    text = re.sub(r"```(?:python|diff)\n.*?```", "", text, flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    commands = re.findall(r"\bpython ([\w./-]+\.py)\b", text)
    in_folders = re.findall(rf"(?<![\w./-])((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]*\w)", text)
    top = [name for name in re.findall(r"`([\w.-]+)`", text) if (ROOT / name).is_file()]
    return {name for name in [*links, *commands, *in_folders, *top] if "://" not in name}


def test_every_path_that_the_documents_name_is_in_the_source_distribution(unpacked: Path):
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")]
    named = {document: named_paths(document.read_text()) for document in documents}
    everything = set().union(*named.values())
    assert {
        "docs/faults.md",
        "house.svg",
        "CONTRIBUTING.md",
        "constraints.txt",
        "train.py",
        "benchmarks/all.py",
        "models/__init__.py",
    } <= everything
    for document, names in named.items():
        folder = unpacked / document.relative_to(ROOT).parent
        missing = [name for name in names if not (folder / name).exists() and not (unpacked / name).exists()]
        assert not missing, f"{document.name} names {missing}"


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    metadata = {name for name in names if name.startswith(f"gtzan_stream-{gtzan_stream.__version__}.dist-info/")}
    assert names - metadata == {name for name in sources() if name.startswith("gtzan_stream/")}
    assert any(name.endswith("licenses/LICENSE") for name in metadata)


def test_the_metadata_are_complete(metadata: Message):
    assert metadata["Name"] == "gtzan-stream"
    assert metadata["Version"] == gtzan_stream.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Author"]
    assert metadata["Summary"]
    assert metadata["Keywords"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(
        metadata.get_all("Classifier")
    )
    assert {"audiomentations", "av", "remote"} <= set(metadata.get_all("Provides-Extra"))


def test_the_tested_versions_are_within_the_bounds(metadata: Message):
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    tested = {name.lower(): version for name, _, version in (line.partition("==") for line in lines)}
    bounds = [Requirement(text) for text in metadata.get_all("Requires-Dist")]
    assert len([bound for bound in bounds if bound.name.lower() in tested]) > 20
    wrong = [bound for bound in bounds if not bound.specifier.contains(tested.get(bound.name.lower(), ""))]
    assert [str(bound) for bound in wrong if bound.name.lower() in tested] == []


def test_a_newer_torch_is_within_the_bounds(metadata: Message):
    bounds = {bound.name: bound.specifier for bound in map(Requirement, metadata.get_all("Requires-Dist"))}
    for name, versions in {"torch": ("2.11.0", "2.14.1", "3.0.0"), "torchvision": ("0.26.0", "0.29.1")}.items():
        assert all(bounds[name].contains(version) for version in versions)


def test_an_address_that_needs_the_extra_names_it(monkeypatch: pytest.MonkeyPatch):
    for address, library in {
        "s3://bucket/s": "s3fs",
        "gs://bucket/s": "gcsfs",
        "hf://datasets/s": "huggingface_hub",
    }.items():
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(UserError, match=r"pip install 'gtzan-stream\[remote\]'"):
            Manifest.open(address)


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs a command of a fresh environment with the wheel and its requirements."""
    folder = wheel.parent.parent
    (folder / "empty").mkdir()
    venv.create(folder / "venv", with_pip=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [folder / "venv" / "bin" / program, *arguments],
            cwd=folder / "empty",
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    done = run("python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    assert done.returncode == 0, done.stderr
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    required = [path for path in sys.path if path.endswith("site-packages")]
    hidden = f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL}))"
    (site / "required.pth").write_text("\n".join([*required, hidden]) + "\n")
    return run


@pytest.mark.slow
def test_the_wheel_works_by_itself(installed: Callable[..., subprocess.CompletedProcess[str]]):
    commands = [["--help"], ["demo", "shards"], ["info", "shards"], ["verify", "shards"], ["preview", "shards"]]
    for arguments in commands:
        done = installed("gtzan-stream", *arguments)
        assert done.returncode == 0, done.stderr
    program = """
import sys, torch, gtzan_stream
from gtzan_stream import Loader
from gtzan_stream.augment import recipe
assert sys.prefix in gtzan_stream.__file__, gtzan_stream.__file__
with Loader("shards", split="demo", part="train", batch_size=16, augment="study", device="cpu") as loader:
    batch = next(iter(loader))
assert batch.features.shape == (16, 128, 128)
assert recipe("strong")(torch.zeros(2, 22050)).shape == (2, 22050)
"""
    done = installed("python", "-c", program)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "extra"),
    [
        ("from gtzan_stream.augment import recipe; recipe('audiomentations')", "audiomentations"),
        ("from gtzan_stream import audio; audio.decode(bytes(4) + b'ftypM4A ' + bytes(99))", "av"),
        ("from gtzan_stream import Manifest; Manifest.open('s3://bucket/shards')", "remote"),
        ("from gtzan_stream.training.board import check_installed; check_installed()", "tensorboard"),
    ],
)
def test_the_error_of_a_missing_library_names_its_extra(
    statement: str, extra: str, installed: Callable[..., subprocess.CompletedProcess[str]]
):
    done = installed("python", "-c", statement)
    assert done.returncode == 1
    assert f"pip install 'gtzan-stream[{extra}]'" in done.stderr
