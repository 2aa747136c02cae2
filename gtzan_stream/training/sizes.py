"""Find which sizes of features a network takes, by running it on them."""

import copy
from bisect import bisect_left
from collections.abc import Callable

import torch
from torch import nn

from gtzan_stream.errors import UserError, first_line

MAX_SIZE = 2**17  # largest number of rows or frames to try

Takes = Callable[[int, int], bool]
"""(rows, frames) -> whether a network takes features of this size."""


@torch.no_grad()
def check_input(network: nn.Module, name: str, n_rows: int, n_frames: int, *, takes_n_mels: bool = True) -> None:
    """Raise UserError if a network does not take features of this size. Its weights and mode stay as they are.

    Parameters
    ----------
    network : Module
        On the CPU.
    name : str
        Its name in messages.
    n_rows, n_frames : int
        Size of one example.
    takes_n_mels : bool
        Whether the option --n-mels sets the number of rows.
    """
    training = network.training
    try:
        network.eval()(torch.zeros(1, n_rows, n_frames, dtype=torch.float32))
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        takes = _on_meta_device(network)
        if (needed := _smallest_size(takes, n_rows, n_frames)) is None:
            raise UserError(
                f"the network {name} does not take features of {n_rows} rows x {n_frames} frames "
                f"({first_line(error)}): choose another --model, --features or --frames"
            ) from error
        rows, frames = needed
        more_rows, more_frames = takes(rows + 1, frames), takes(rows, frames + 1)
        choices = []
        if n_rows < rows or (n_rows > rows and not more_rows):
            chosen = f"--n-mels {rows}" if takes_n_mels else f"features of {rows} rows"
            choices.append(chosen + " or more" * more_rows)
        if n_frames < frames or (n_frames > frames and not more_frames):
            choices.append(f"--frames {frames}" + " or more" * more_frames)
        raise UserError(
            f"the network {name} needs {_bound(rows, 'row', more_rows)} and {_bound(frames, 'frame', more_frames)}, "
            f"but the features have {n_rows} rows x {n_frames} frames: "
            f"choose {' and '.join(choices) or 'another --model'}"
        ) from error
    finally:
        network.train(training)


def fewest_frames(network: nn.Module, n_rows: int) -> int | None:
    """Return the smallest number of frames that a network takes with `n_rows` rows; None if it takes none."""
    takes = _on_meta_device(network)
    return _smallest(lambda n: takes(n_rows, n))


def _bound(n: int, what: str, more: bool) -> str:
    return f"{'at least' if more else 'exactly'} {n} {what}{'s' * (n != 1)}"


def _smallest_size(takes: Takes, n_rows: int, n_frames: int) -> tuple[int, int] | None:
    """Find a size (rows, frames) that a network takes instead of `n_rows` x `n_frames`; None if it takes none.

    Either `n_rows` or `n_frames` is kept if possible.
    """
    frames, rows = _smallest(lambda n: takes(n_rows, n)), _smallest(lambda n: takes(n, n_frames))
    if frames is None and rows is None:
        frames = _smallest(lambda n: takes(n, n))
        if frames is None:
            return None
    frames = n_frames if frames is None else frames
    rows = _smallest(lambda n: takes(n, frames)) or n_rows
    return rows, _smallest(lambda n: takes(rows, n)) or frames


def _smallest(takes: Callable[[int], bool]) -> int | None:
    """Find the smallest n for which ``takes(n)`` is true; None if it is false for every power of two.

    The search assumes that ``takes`` is true for all larger n too; otherwise the result may not be the smallest.
    """
    for power in range(MAX_SIZE.bit_length()):
        if takes(2**power):
            candidates = range(2**power // 2 + 1, 2**power)
            return candidates.start + bisect_left(candidates, True, key=takes)
    return None


def _on_meta_device(network: nn.Module) -> Takes:
    """Return a function that runs the network on the meta device: only shapes are computed, in milliseconds."""
    shapes = copy.deepcopy(network).to("meta").eval()

    @torch.no_grad()
    def takes(n_rows: int, n_frames: int) -> bool:
        try:
            shapes(torch.empty(1, n_rows, n_frames, dtype=torch.float32, device="meta"))
        except Exception:  # a user's network may do anything
            return False
        return True

    return takes
