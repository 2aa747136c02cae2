"""Files for other programs (pre-commit, GitHub, citation managers) agree with the repository."""

import configparser
import re

import pytest
import yaml

import gtzan_stream
from tests.house import ROOT

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOW = (ROOT / ".github/workflows/test.yml").read_text()
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))


def strings_in(value: object) -> list[str]:
    """List all strings in nested lists and dicts."""
    if isinstance(value, dict | list):
        return [text for inner in (value.values() if isinstance(value, dict) else value) for text in strings_in(inner)]
    return [str(value)]


def test_the_workflow_tests_the_oldest_and_the_newest_python() -> None:
    minors = [int(n) for n in re.findall(r"Python :: 3\.(\d+)", SETUP["metadata"]["classifiers"])]
    job = yaml.safe_load(WORKFLOW)["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == [f"3.{min(minors)}", f"3.{max(minors)}"]
    assert SETUP["options"]["python_requires"] == f">=3.{min(minors)}"


def test_the_workflow_calls_the_gate_and_caches_what_it_installs() -> None:
    steps = yaml.safe_load(WORKFLOW)["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["make test PYTHON=python"]
    assert re.search(r"^PYTHON \?=", MAKEFILE, re.MULTILINE), "the workflow must be able to set the Python of make"
    (setup,) = [step["with"] for step in steps if "setup-python" in step.get("uses", "")]
    assert setup["cache"] == "pip"
    files = setup["cache-dependency-path"].split()
    assert files
    assert all((ROOT / name).is_file() for name in files)


def test_pre_commit_runs_the_linters_of_the_gate() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    called = [hook["entry"].split() for hook in hooks]
    assert all(program == "make" for program, *_ in called)
    linters = {target for _, *rest in called for target in rest}
    (needs,) = re.findall(r"^test: (.*)$", MAKEFILE, re.MULTILINE)
    assert linters == {name for name in needs.split() if name in targets()} != set()
    assert not any(hook["pass_filenames"] for hook in hooks), "the hooks must check all files, as the gate does"


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == gtzan_stream.__version__
    assert citation["title"] == SETUP["metadata"]["name"]
    assert citation["authors"] == [{"name": SETUP["metadata"]["author"]}]
    assert citation["license"] == SETUP["metadata"]["license_expression"]
    assert citation["abstract"].rstrip(".") == SETUP["metadata"]["description"]
    assert citation["keywords"] == SETUP["metadata"]["keywords"].split(", ")
    assert {"cff-version", "message", "type"} <= citation.keys()


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_complete(path) -> None:
    form = yaml.safe_load(path.read_text())
    assert form["name"]
    assert form["description"]
    assert {part["type"] for part in form["body"]} <= {"textarea", "input", "dropdown", "checkboxes", "markdown"}
    names = [part["id"] for part in form["body"]]
    assert len(names) == len(set(names)) > 1
    assert all(part["attributes"]["label"] for part in form["body"])


def test_the_bug_form_asks_for_versions_and_shards_with_commands_that_exist() -> None:
    from typer.testing import CliRunner

    from gtzan_stream.cli import app

    text = " ".join(strings_in(yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text())))
    assert "`gtzan-stream --version`" in text
    assert "`gtzan-stream info shards/ --json`" in text
    assert CliRunner().invoke(app, ["--version"]).exit_code == 0
    assert "--json" in CliRunner().invoke(app, ["info", "--help"], env={"COLUMNS": "200"}).output


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_in_the_documents_exist(page: str) -> None:
    called = re.findall(r"^make(?: [A-Z]+=\S+)* ([a-z -]+?)(?: +#.*)?$", (ROOT / page).read_text(), re.MULTILINE)
    names = {name for line in called for name in line.split()}
    assert names
    assert names <= targets()
