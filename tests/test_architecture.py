"""docs/architecture.md agrees with the code: the picture, functions, sizes, names of random draws, and thread names."""

import ast
import re
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gtzan_stream import epochs
from gtzan_stream.features import LogMel, RawWaveform
from gtzan_stream.geometry import Geometry
from tests import house
from tests.house import FILES, HOUSE, PICTURE, PROGRAMS, ROOT
from tests.test_random_names import FEATURES, GROUPS, NAMES, ORDER, RANKS

PAGE = (ROOT / "docs/architecture.md").read_text()


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table with `heading` above its first column."""
    lines = PAGE.split(f"\n| {heading} |")[1].splitlines()[2:]
    rows = lines[: next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def code(cell: str) -> list[str]:
    """Return the texts in backticks."""
    return re.findall(r"`([^`]+)`", cell)


# --- the house --------------------------------------------------------------------------------------------------------


def test_the_picture_shows_the_imports() -> None:
    assert PICTURE.read_text() == house.picture(), "run python -m tests.house to redraw it"


def test_arrows_point_downward_and_reach_what_imports_reach() -> None:
    assert len(house.arrows()) > 20
    assert all(house.floor(start) < house.floor(end) for start, end in house.arrows())
    for room in house.imports():
        reached = {room}
        for _ in house.imports():
            reached |= {end for start, end in house.arrows() if start in reached}
        assert reached - {room} == house.below(room)


def test_every_room_is_drawn_once_and_beside_the_others() -> None:
    picture = ElementTree.fromstring(PICTURE.read_text())
    svg = "{http://www.w3.org/2000/svg}"
    texts = [text.text.strip("/") for text in picture.iter(f"{svg}text")]
    assert sorted(text for text in texts if text in {*HOUSE, *PROGRAMS}) == sorted([*HOUSE, *PROGRAMS])
    boxes = [[float(box.get(side, 0)) for side in ("x", "y", "width", "height")] for box in picture.iter(f"{svg}rect")]
    (_, _, width, height), *rooms = boxes
    for i, (x, y, w, h) in enumerate(rooms):
        assert x >= 0 <= y
        assert x + w <= width
        assert y + h <= height
        for other_x, other_y, other_w, other_h in rooms[:i]:
            assert x >= other_x + other_w or other_x >= x + w or y >= other_y + other_h or other_y >= y + h


# --- where do I find it -----------------------------------------------------------------------------------------------


def defined(path: Path) -> set[str]:
    """Return the functions and classes of a file; methods are named `Class.method`."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


TASKS = [row for row in table("what happens") if row[1]]


def test_the_page_lists_tasks() -> None:
    assert len(TASKS) > 30


@pytest.mark.parametrize("row", TASKS, ids=lambda row: row[0])
def test_every_named_function_is_in_its_file(row: list[str]) -> None:
    files, functions = code(row[1]), code(row[2])
    assert files
    assert functions
    found = [defined(ROOT / file) for file in files]
    assert [name for name in functions if not any(name in names for names in found)] == []
    assert [file for file, names in zip(files, found, strict=True) if not names & set(functions)] == []


@pytest.mark.parametrize("row", table("step"), ids=lambda row: row[0])
def test_every_step_of_a_batch_is_a_function(row: list[str]) -> None:
    for name in code(row[0]):
        name = name.removeprefix("crops.")
        method_of_the_maker = f"BatchMaker.{name}"
        assert any({name, method_of_the_maker} & defined(path) for path in FILES), name


# --- sizes and names --------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    return f"{value:g}"


def test_the_table_of_geometry_has_every_field_with_its_values() -> None:
    rows = {code(name)[0]: cells for name, *cells in table("field")}
    assert list(rows) == list(Geometry.__dataclass_fields__)
    for name, (*_, log_mel, raw) in rows.items():
        assert (log_mel, raw) == tuple(number(getattr(f().geometry, name)) for f in (LogMel, RawWaveform)), name


@pytest.mark.parametrize("features", [LogMel(n_fft=512, hop_length=200, n_mels=40), RawWaveform(frames=999)])
def test_the_formulas_agree_with_the_code(features: LogMel) -> None:
    geometry = features.geometry
    for name, formula, _ in table("derived"):
        value = eval(code(formula)[0], {**vars(geometry), "T": 54321})
        name = code(name)[0]
        assert value == (geometry.frames_in(54321) if "(T)" in name else getattr(geometry, name)), name


def test_the_default_sizes_agree_with_the_code() -> None:
    features = LogMel()
    assert f"`read_length` {features.geometry.read_length:,} samples, 128 bands, 128 frames" in PAGE
    assert f"float32 [B, {features.geometry.read_length}]" in PAGE
    assert f"up to {epochs._PREFETCH_DEPTH} batches ahead" in PAGE


def test_the_table_of_draws_has_exactly_the_frozen_names() -> None:
    parameters = re.search(r"`<path>\.<parameter>` \| a parameter: (.*) \|", PAGE)
    patterns = [name for row in table("name") for name in code(row[0]) if name != "<path>.<parameter>"]
    patterns += [f"<path>.{name}" for name in code(parameters[1]) if name != "SpeedPerturb"]
    patterns = [re.sub(r"<\w+>", "*", pattern) for pattern in patterns]
    names = set().union(ORDER, FEATURES, GROUPS, RANKS, *NAMES.values())
    assert [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)] == []
    assert [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)] == []


def test_the_table_of_threads_has_exactly_the_pools() -> None:
    source = "\n".join(path.read_text() for path in FILES)
    named = set(re.findall(r'"(gtzan-stream-[a-z]+)"', source))
    assert {code(row[0])[0] for row in table("thread") if code(row[0])} == named
