"""Checkpoints: write, read and check everything a run needs to continue exactly where it stopped."""

import zipfile
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from gtzan_stream.atomic import atomic_write
from gtzan_stream.errors import UserError, first_line
from gtzan_stream.words import first_few

BEST, LAST = "best.pt", "last.pt"


@runtime_checkable
class Stateful(Protocol):
    """An object with state to save, like torch's modules and optimizers."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class RandomNumbers:
    """The state of torch's global random number generators, on the CPU and one GPU. Dropout draws from them."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None

    def state_dict(self) -> dict[str, Any]:
        cuda = None if self._cuda is None else torch.cuda.get_rng_state(self._cuda)
        return {"cpu": torch.get_rng_state(), "cuda": cuda}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        torch.set_rng_state(state["cpu"])
        if self._cuda is not None and state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self._cuda)


def save(path: Path, parts: dict[str, Stateful], **metadata: Any) -> None:
    """Write the state of `parts` and plain `metadata` to a file. If writing fails, the old file stays as it was.

    Raises
    ------
    UserError
        If the file cannot be written, for instance because the disk is full.
    """
    state = {name: part.state_dict() for name, part in parts.items()}
    with atomic_write(path, _n_bytes(state)) as file:
        torch.save({**metadata, "parts": state}, file)


def _n_bytes(state: Any) -> int:
    """Return the total size in bytes of all tensors in nested dicts and lists."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return sum(map(_n_bytes, values))


def find(path: str | Path) -> Path:
    """Return the checkpoint to resume from: `path` itself, or last.pt in it if it is the folder of a run.

    Raises
    ------
    UserError
        If there is none.
    """
    path = Path(path)
    path = path / LAST if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"{path} is not a checkpoint: give the folder of a run, or a .pt file in it")
    return path


def load(path: Path, remedy: str = "choose another") -> dict[str, Any]:
    """Read a checkpoint onto the CPU, without running any code in the file. Error messages end in `remedy`.

    Raises
    ------
    UserError
        If the file is missing, damaged or not a checkpoint.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not verify the checksums
            if damaged := archive.testzip():
                raise UserError(f"{path} is damaged: the checksum of {damaged} in it is wrong; {remedy}")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {remedy}") from None
    except Exception as error:  # on damaged files, zipfile, pickle and torch raise many types
        raise UserError(f"{path} cannot be read as a checkpoint ({type(error).__name__}): {remedy}") from None
    if not isinstance(state, dict) or not isinstance(state.get("parts"), dict):
        raise UserError(f"{path} is not a checkpoint of train.py: {remedy}")
    return state


def restore(state: dict[str, Any], parts: dict[str, Stateful], what: str) -> None:
    """Load the stored state into each of `parts`. `what` names the checkpoint in error messages.

    Raises
    ------
    UserError
        If a part is missing from the checkpoint, or its state does not fit: another network, optimizer, ...
    """
    for name, part in parts.items():
        if name not in state["parts"]:
            raise UserError(f"{what} has no {name}; it has {first_few(map(str, state['parts']), 12)}: start a new run")
        stored = state["parts"][name]
        try:
            if not isinstance(part, nn.Module | RandomNumbers) and (difference := _difference_in_state(part, stored)):
                raise ValueError(difference)
            part.load_state_dict(stored)
        except UserError:  # has a message for users already
            raise
        except Exception as error:  # the state may come from another program or version of torch
            difference = _difference_in_tensors(part, stored, error)
            raise UserError(f"{what} does not fit this {name}: {difference}; start a new run") from None


def _difference_in_state(part: Stateful, stored: Any) -> str | None:
    """Describe the first difference in structure between a part's state and the stored one; None if it fits.

    torch's optimizers and schedules load any state without checking it, and a fused optimizer then writes past the end
    of a state that is smaller than its parameter.
    """
    if difference := _difference_in_structure(part.state_dict(), stored, ""):
        return difference
    if isinstance(part, torch.optim.Optimizer):
        parameters = [parameter for group in part.param_groups for parameter in group["params"]]
        kinds = {frozenset((name, type(value)) for name, value in entry.items()) for entry in stored["state"].values()}
        if len(kinds) > 1:
            return "the states of its parameters differ in their names or types"
        for index, entry in stored["state"].items():
            for name, value in entry.items():
                if name != "step" and not (torch.is_tensor(value) and value.shape in ((), parameters[index].shape)):
                    return f"{name} of parameter {index} has another shape"
    return None


def _difference_in_structure(own: Any, stored: Any, path: str) -> str | None:
    """Describe the first difference in names, types or shapes of nested data. An empty container fits any of its type.

    `path` has the keys that lead to the data, such as "param_groups.0.lr".
    """
    if own is None and isinstance(stored, bool):  # some options of torch's optimizers are None until they are used
        return None
    if type(own) is not type(stored) and not {type(own), type(stored)} <= {int, float}:
        return f"{path or 'it'} is a {type(stored).__name__} in the checkpoint and a {type(own).__name__} here"
    if isinstance(own, torch.Tensor):
        same = (own.shape, own.dtype) == (stored.shape, stored.dtype)
        return None if same else f"{path} is {stored.dtype} {list(stored.shape)} in the checkpoint"
    if not isinstance(own, dict | list | tuple) or not own:
        return None
    entries = [dict(value) if isinstance(value, dict) else dict(enumerate(value)) for value in (own, stored)]
    if entries[0].keys() != entries[1].keys():
        own_entries, stored_entries = entries
        there = first_few(str(name) for name in stored_entries if name not in own_entries) or "none"
        here = first_few(str(name) for name in own_entries if name not in stored_entries) or "none"
        return f"{path or 'it'} has the entries {there} only in the checkpoint and {here} only here"
    differences = (
        _difference_in_structure(value, entries[1][key], f"{path}.{key}".lstrip("."))
        for key, value in entries[0].items()
    )
    return next(filter(None, differences), None)


def _difference_in_tensors(part: Stateful, stored: Any, error: Exception) -> str:
    """Describe in one line the first difference between a module's tensors and the stored ones."""
    if isinstance(part, nn.Module) and isinstance(stored, dict):
        own = part.state_dict()
        for name in sorted(own.keys() | set(map(str, stored))):
            here, there = (_shape(state, name) for state in (own, stored))
            if here != there:
                return f"{name} {here} here and {there} in the checkpoint"
    return first_line(error)


def _shape(state: dict[str, Any], name: str) -> str:
    """Describe the shape of a tensor in a module's state."""
    if name not in state:
        return "is missing"
    value = state[name]
    return f"has the shape {tuple(value.shape)}" if torch.is_tensor(value) else f"is a {type(value).__name__}"
