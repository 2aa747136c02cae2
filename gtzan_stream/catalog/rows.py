"""Read the rows of CSV files with splits or labels."""

import csv
import io
from pathlib import Path

from gtzan_stream.errors import UserError


def read_rows(path: str | Path, what: str) -> list[tuple[int, list[str]]]:
    """Return the line number and the stripped cells of every row that is not blank.

    Raises
    ------
    UserError
        If the file cannot be read. The message calls it `what`, such as "a split file of key,part rows".
    """
    try:
        reader = csv.reader(io.StringIO(Path(path).read_text(encoding="utf-8-sig"), newline=""))
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as {what}: {error}") from error
    return [(line, cells) for line, cells in rows if any(cells)]
