"""Errors of a batch's rows: they end the batch, or their rows are skipped."""

import numpy as np

from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.plan import Rows
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.read import ClipReader


class RowErrors:
    """Raises the error of a row, or collects it if rows may be skipped. The methods may be called from any thread.

    Parameters
    ----------
    manifest : Manifest
    rows : Rows
        The rows of the batch.
    skip : bool
        Whether rows with errors are skipped.

    Attributes
    ----------
    messages : dict of int to str
        Message of each row that is skipped.
    """

    def __init__(self, manifest: Manifest, rows: Rows, *, skip: bool) -> None:
        self._manifest, self._rows, self._skip = manifest, rows, skip
        self.messages: dict[int, str] = {}

    def read(self, reader: ClipReader, row: int, start: int, out: np.ndarray) -> None:
        """Fill `out` with the samples of a row's clip from `start` on. If it cannot be read, raise that or note it."""
        try:
            reader.read(int(self._rows.clips[row]), start, out)
        except BadSample as error:
            if not self._skip:
                raise
            self.messages[row] = str(error)
            out[:] = 0

    def failed(self, row: int, error: ValueError, label: str) -> None:
        """Raise or note that a transform failed for a row, which has this label in the transform's own messages."""
        if isinstance(error, UserError):  # does not concern this row alone
            raise error
        if row in self.messages:  # not read, so the transform got silence
            return
        where = f"{self._manifest.location(int(self._rows.clips[row]))}, crop {self._rows.crops[row]}"
        message = f"{where}: {str(error).removeprefix(f'{label}: ')}"  # the label has only the hash of the key
        if not self._skip:
            raise BadSample(message) from error
        self.messages[row] = message
