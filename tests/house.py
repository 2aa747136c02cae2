"""The house: the rooms of the package, which room may import which, and the picture of it in docs/house.svg.

A room is a package or a module directly below `gtzan_stream`. `python -m tests.house` redraws the picture from the
imports in the files.
"""

import ast
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from xml.sax.saxutils import escape

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs/house.svg"
ROOMS = {
    "cli": "starts a command",
    "commands": "each with its options",
    "console": "tables and progress bars",
    "training": "a run: steps to report",
    "inference": "export, classify, preview",
    "pages": "pages in one file",
    "service": "batches for trainers",
    "loader": "Loader",
    "evaluation": "chunks in order",
    "described": "transforms as JSON",
    "chosen": "examples by key",
    "epochs": "iterate, resume",
    "sampler": "follows a trainer's epochs",
    "prefetch": "batches made ahead",
    "shard_requests": "downloads ahead",
    "batch_maker": "makes one batch",
    "cpu_rows": "features by rows",
    "device_rows": "features by batches",
    "row_errors": "raise or skip",
    "mixup": "mixtures of examples",
    "spec_augment": "masks of features",
    "batch": "what a loader yields",
    "views": "augment, choose a crop",
    "short_clips": "shorter than a crop",
    "crops": "what each row reads",
    "augment": "transforms and recipes",
    "features": "LogMel, RawWaveform",
    "normalization": "of features",
    "plan": "the order of an epoch",
    "layout": "groups of shards",
    "permutation": "a shuffle by arithmetic",
    "store": "shards: pack, index, read",
    "demo": "the synthesised set",
    "catalog": "GTZAN and splits",
    "download": "resumed downloads",
    "audio": "files to waveforms",
    "dsp": "functions of tensors",
    "kernels": "numba and Triton",
}
"""Rooms of the package and their contents, from the top floor down: each may import those after it."""
HOUSE = list(ROOMS)
GROUND = {"atomic", "checks", "distributed", "errors", "folders", "geometry"}
GROUND |= {"feature_settings", "registry", "shapes", "threads", "words"}
"""Modules that every room but kernels may import."""
PROGRAMS = {
    "train.py": "trains a network",
    "examples": "to copy from",
    "benchmarks": "measurements",
    "models": "the networks",
}
"""Code above the package: it runs from the checkout and is not installed."""
FILES = sorted((ROOT / "gtzan_stream").rglob("*.py"))


def imported_modules(path: Path) -> list[str]:
    """Return the absolute names of all modules that a file imports, including imports inside functions."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def room_of(path: Path) -> str:
    """Return the room of a file of the package; `__main__` belongs to the command line."""
    room = path.relative_to(ROOT / "gtzan_stream").parts[0].removesuffix(".py")
    return "cli" if room == "__main__" else room


# --- the picture ------------------------------------------------------------------------------------------------------

Arrow = tuple[str, str]


@cache
def imports() -> dict[str, frozenset[str]]:
    """Return the rooms that each room and program imports, without the ground."""
    files = {room: [path for path in FILES if room_of(path) == room] for room in HOUSE}
    files |= {name: [ROOT / name] if name.endswith(".py") else [*(ROOT / name).rglob("*.py")] for name in PROGRAMS}
    found = {}
    for room, paths in files.items():
        names = [name.split(".") for path in paths for name in imported_modules(path)]
        rooms = {name[1] for name in names if name[0] == "gtzan_stream" and len(name) > 1}
        rooms |= {name[0] for name in names if name[0] in PROGRAMS}
        found[room] = frozenset(rooms & files.keys() - {room})
    return found


@cache
def below(room: str) -> frozenset[str]:
    """Return all rooms that a room imports, directly or indirectly."""
    return imports()[room].union(*map(below, imports()[room]))


@cache
def arrows() -> list[Arrow]:
    """Return the imports that other imports do not imply: the fewest arrows that reach the same rooms."""
    return [
        (room, other)
        for room, others in imports().items()
        for other in sorted(others)
        if not any(other in below(between) for between in others)
    ]


@cache
def floor(room: str) -> int:
    """Return the floor of a room, counted from the top: one below the lowest room that imports it."""
    return 1 + max((floor(other) for other, others in imports().items() if room in others), default=-1)


BOX = (158, 40)  # width and height of a room
GAP = 16  # between rooms
STEP = 76  # from floor to floor
LANE = 26  # width kept free for an arrow that passes a floor
STYLE = "font-family='Helvetica,Arial,sans-serif' text-anchor='middle'"


def lanes() -> list[list[str]]:
    """Order the rooms of each floor, and the lanes "a>b" of the arrows that pass it on their way down.

    Sort each floor by the mean position of the neighbours, repeatedly from top to bottom and back.
    """
    floors: list[list[str]] = [[] for _ in range(1 + max(map(floor, imports())))]
    neighbours: dict[str, set[str]] = {}
    for room in imports():
        floors[floor(room)].append(room)
    for start, end in arrows():
        route = [start, *(f"{start}>{end} {level}" for level in range(floor(start) + 1, floor(end))), end]
        for level, step in enumerate(route[1:-1], floor(start) + 1):
            floors[level].append(step)
        for one, other in pairwise(route):
            neighbours.setdefault(one, set()).add(other)
            neighbours.setdefault(other, set()).add(one)
    position = {name: float(i) for row in floors for i, name in enumerate(row)}
    for level in [*range(len(floors)), *reversed(range(len(floors)))] * 8:
        floors[level].sort(key=lambda name: fmean([position[other] for other in neighbours.get(name, [name])]))
        widths = [LANE if ">" in name else BOX[0] + GAP for name in floors[level]]
        for i, name in enumerate(floors[level]):
            position[name] = sum(widths[:i]) + widths[i] / 2 - sum(widths) / 2
    return floors


def positions() -> tuple[dict[str, tuple[float, float]], float, float]:
    """Return the centres of the rooms and lanes, and the width and height of all rooms together."""
    rows = lanes()
    widths = [[LANE if ">" in name else BOX[0] + GAP for name in row] for row in rows]
    total = max(map(sum, widths)) + 2 * GAP
    centres = {}
    for level, (row, wide) in enumerate(zip(rows, widths, strict=True)):
        for i, name in enumerate(row):
            x = (total - sum(wide)) / 2 + sum(wide[:i]) + wide[i] / 2
            centres[name] = (round(x, 1), GAP + level * STEP + BOX[1] / 2)
    return centres, total, GAP + (len(rows) - 1) * STEP + BOX[1]


def curve(points: list[tuple[float, float]]) -> str:
    """Return an SVG path from the lower edge of the first room, through the lanes, to the upper edge of the last."""
    (x, y), half = points[0], BOX[1] / 2
    path, y = f"M{x:g} {y + half:g}", y + half
    for i, (to_x, to_y) in enumerate(points[1:], 2):
        above = to_y - half - (3 if i == len(points) else 0)
        path += f"C{x:g} {(y + above) / 2:g} {to_x:g} {(y + above) / 2:g} {to_x:g} {above:g}"
        x, y = to_x, above if i == len(points) else to_y + half
        path += "" if i == len(points) else f"V{y:g}"
    return path


def svg_lines() -> Iterator[str]:
    """Yield the lines of the picture."""
    centres, width, height = positions()
    total = height + 3 * GAP + BOX[1]
    yield f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:g} {total:g}' width='{width:g}' {STYLE}>"
    yield "<title>The rooms of gtzan_stream and their imports</title>"
    yield (
        "<defs><marker id='tip' viewBox='0 0 8 8' refX='6' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        "<path d='M0 0L8 4L0 8z' fill='#667'/></marker></defs>"
    )
    yield f"<rect width='{width:g}' height='{total:g}' rx='8' fill='#fff'/>"
    for start, end in arrows():
        route = [name for name in centres if name.startswith(f"{start}>{end} ")]
        path = curve([centres[name] for name in [start, *route, end]])
        yield f"<path d='{path}' fill='none' stroke='#667' stroke-width='1.2' marker-end='url(#tip)'/>"
    for name, text in {**PROGRAMS, **ROOMS}.items():
        x, y = centres[name]
        fill = "#fdf1dc" if name in PROGRAMS else "#e3eefb"
        is_folder = (ROOT / ("" if name in PROGRAMS else "gtzan_stream") / name).is_dir()
        yield from box(x, y, BOX[0], fill, f"{name}/" if is_folder else name, text)
    text = "the ground: every room but kernels may import these"
    yield from box(width / 2, total - GAP - BOX[1] / 2, width - 2 * GAP, "#eee", ", ".join(sorted(GROUND)), text)
    yield "</svg>"


def box(x: float, y: float, width: float, fill: str, name: str, text: str) -> Iterator[str]:
    """Yield the lines of a room around (x, y): a box with its name and its contents."""
    left, top = x - width / 2, y - BOX[1] / 2
    yield f"<rect x='{left:g}' y='{top:g}' width='{width:g}' height='{BOX[1]}' rx='5' fill='{fill}' stroke='#889'/>"
    yield f"<text x='{x:g}' y='{y - 3:g}' font-size='14' font-weight='bold' fill='#222'>{escape(name)}</text>"
    yield f"<text x='{x:g}' y='{y + 13:g}' font-size='11.5' fill='#445'>{escape(text)}</text>"


def picture() -> str:
    """Return the picture as SVG."""
    return "\n".join(svg_lines()) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture())
    print(f"{PICTURE}: {len(imports())} rooms, {len(arrows())} arrows")
