"""Checkpoints that hold everything a run needs to continue as if it had never stopped."""

import zipfile
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from gtzan_stream.atomic import atomic_write
from gtzan_stream.errors import UserError

BEST, LAST = "best.pt", "last.pt"


@runtime_checkable
class Stateful(Protocol):
    """What can be put down and taken up again."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class RandomNumbers:
    """The state of torch's own random numbers, which dropout draws from, on the CPU and on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None

    def state_dict(self) -> dict[str, Any]:
        cuda = None if self._cuda is None else torch.cuda.get_rng_state(self._cuda)
        return {"cpu": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["cpu"])
        if self._cuda is not None and state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self._cuda)


def save(path: Path, parts: dict[str, Stateful], **facts: Any) -> None:
    """Write the state of `parts`, and `facts` of plain data. An interruption leaves the old file as it was.

    Raises
    ------
    UserError
        If there is no room for it; the old file is still whole.
    """
    state = {name: part.state_dict() for name, part in parts.items()}
    with atomic_write(path, _n_bytes(state)) as file:
        torch.save({**facts, "parts": state}, file)


def _n_bytes(state: Any) -> int:
    """Bytes of all tensors in nested dicts and lists."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return sum(map(_n_bytes, values))


def find(place: str | Path) -> Path:
    """The checkpoint to resume from: `place` itself, or the last of the run that it is the folder of.

    Raises
    ------
    UserError
        If there is none.
    """
    path = Path(place)
    path = path / LAST if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"{path} is not a checkpoint: give the folder of a run, or a .pt file in it")
    return path


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, on the CPU. Only data is read: nothing in the file is run.

    Raises
    ------
    UserError
        If the file is not a whole checkpoint of a run.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums of what it reads
            if damaged := archive.testzip():
                raise UserError(f"{path} is damaged: the checksum of {damaged} in it is wrong; choose another")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # zipfile, pickle and torch raise all kinds on wrong bytes
        raise UserError(f"{path} cannot be read as a checkpoint ({type(error).__name__}): choose another") from None
    if not isinstance(state, dict) or "parts" not in state:
        raise UserError(f"{path} is not a checkpoint of train.py: choose another")
    return state


def restore(state: dict[str, Any], parts: dict[str, Stateful], what: str) -> None:
    """Give each of `parts` its state back; `what` names the checkpoint to whoever must be told that it does not fit.

    Raises
    ------
    UserError
        If a network, an optimizer... is not the one that the checkpoint was made of.
    """
    for name, part in parts.items():
        if name not in state["parts"]:
            raise UserError(f"{what} has no {name}; it has {', '.join(state['parts'])}: start a new run")
        try:
            part.load_state_dict(state["parts"][name])
        except UserError:  # a sentence already
            raise
        except (RuntimeError, KeyError, ValueError) as error:
            difference = _mismatch(part, state["parts"][name], error)
            raise UserError(f"{what} does not fit this {name}: {difference}; start a new run") from None


def _mismatch(part: Stateful, stored: dict[str, Any], error: Exception) -> str:
    """In one line, the first difference between a module and what was stored of it."""
    if not isinstance(part, nn.Module):
        return str(error).splitlines()[0]
    own = part.state_dict()
    for name in sorted(own.keys() | stored.keys()):
        here, there = (f"has the shape {tuple(s[name].shape)}" if name in s else "is missing" for s in (own, stored))
        if here != there:
            return f"{name} {here} here and {there} there"
    return str(error).splitlines()[0]
