"""The picture of the feature service in docs/service.svg: `python -m tests.service_picture` draws it again."""

from collections.abc import Iterator

from tests.house import ROOT, STYLE, box

PICTURE = ROOT / "docs/service.svg"
WIDTH, HEIGHT = 860, 264
SHARDS, SERVERS, TRAINERS = 94, 360, 736  # centres of the columns
BOXES = {
    "shards": (SHARDS, 132, 150, "#eee", "shards/", "tar files and a manifest"),
    "one": (SERVERS, 90, 196, "#e3eefb", "server 1", "makes batches 0, 2, 4, …"),
    "two": (SERVERS, 174, 196, "#e3eefb", "server 2", "makes batches 1, 3, 5, …"),
    "sweep": (TRAINERS, 48, 210, "#fdf1dc", "train.py --lr 0.1", "gets batches 0, 1, 2, …"),
    "other": (TRAINERS, 132, 210, "#fdf1dc", "train.py --lr 0.01", "gets the same batches"),
    "own": (TRAINERS, 216, 210, "#fdf1dc", "your own loop", "a ServedLoader, of any stream"),
}
"""Centre, width, colour, name and contents of each box."""
ARROWS = [("shards", server) for server in ("one", "two")]
ARROWS += [(server, trainer) for server in ("one", "two") for trainer in ("sweep", "other", "own")]


def svg_lines() -> Iterator[str]:
    """Yield the lines of the picture."""
    yield f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' {STYLE}>"
    yield "<title>Who talks to whom in the feature service</title>"
    yield (
        "<defs><marker id='tip' viewBox='0 0 8 8' refX='6' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        "<path d='M0 0L8 4L0 8z' fill='#667'/></marker></defs>"
    )
    yield f"<rect width='{WIDTH}' height='{HEIGHT}' rx='8' fill='#fff'/>"
    yield (
        f"<rect x='{SERVERS - 114}' y='34' width='228' height='176' rx='8' fill='none' stroke='#889' "
        "stroke-dasharray='5 4'/>"
    )
    yield f"<text x='{SERVERS}' y='54' font-size='13' fill='#445'>gtzan-stream serve shards/</text>"
    for start, end in ARROWS:
        (x, y, width, *_), (to_x, to_y, to_width, *_) = BOXES[start], BOXES[end]
        left, right = x + width / 2, to_x - to_width / 2 - 3
        middle = (left + right) / 2
        path = f"M{left:g} {y}C{middle:g} {y} {middle:g} {to_y} {right:g} {to_y}"
        yield f"<path d='{path}' fill='none' stroke='#667' stroke-width='1.2' marker-end='url(#tip)'/>"
    for x, y, width, fill, name, text in BOXES.values():
        yield from box(x, y, width, fill, name, text)
    yield "</svg>"


def picture() -> str:
    """Return the picture as SVG."""
    return "\n".join(svg_lines()) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    print(PICTURE)
