"""A checkpoint restores what was saved; one that is damaged or does not fit is an error of one line."""

import os
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from gtzan_stream.errors import UserError
from gtzan_stream.training import checkpoints, optimizers

CPU = torch.device("cpu")


def test_a_checkpoint_restores_everything(tmp_path):
    torch.manual_seed(1)
    parts = {"network": nn.Linear(2, 2), "random numbers": checkpoints.RandomNumbers(CPU)}
    checkpoints.save(tmp_path / "new" / "last.pt", parts, config={"seed": 1})
    expected = torch.randn(3)
    torch.manual_seed(2)
    other = {"network": nn.Linear(2, 2), "random numbers": checkpoints.RandomNumbers(CPU)}
    state = checkpoints.load(checkpoints.find(tmp_path / "new"))
    checkpoints.restore(state, other, "last.pt")
    assert torch.equal(torch.randn(3), expected)
    assert torch.equal(other["network"].weight, parts["network"].weight)
    assert state["config"] == {"seed": 1}


def test_a_save_that_fails_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "last.pt"
    checkpoints.save(path, {}, epoch=1)
    with pytest.raises((pickle.PicklingError, AttributeError)):  # which of them depends on the version of Python
        checkpoints.save(path, {}, epoch=lambda: None)
    assert checkpoints.load(path)["epoch"] == 1


def test_a_folder_without_a_checkpoint_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"last\.pt is not a checkpoint: give the folder of a run"):
        checkpoints.find(tmp_path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut off"])
def test_a_broken_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"last\.pt cannot be read as a checkpoint"):
        checkpoints.load(path)


def test_a_checkpoint_may_hold_only_data(tmp_path):
    path = tmp_path / "last.pt"
    torch.save({"parts": {}, "config": os.path.join}, path)
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        checkpoints.load(path)


def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"not a checkpoint of train\.py"):
        checkpoints.load(tmp_path / "other.pt")


def test_a_network_that_does_not_fit_is_an_error_of_one_line(tmp_path):
    checkpoints.save(tmp_path / "last.pt", {"network": nn.Linear(2, 3)})
    state = checkpoints.load(tmp_path / "last.pt")
    shapes = r"bias has the shape \(4,\) here and has the shape \(3,\) in the checkpoint"
    with pytest.raises(UserError, match=rf"^last\.pt, of tiny, does not fit this network: {shapes}; start a new run$"):
        checkpoints.restore(state, {"network": nn.Linear(2, 4)}, "last.pt, of tiny,")
    with pytest.raises(UserError, match="bias is missing here and has the shape"):
        checkpoints.restore(state, {"network": nn.Linear(2, 3, bias=False)}, "last.pt")
    with pytest.raises(UserError, match=r"last\.pt has no optimizer; it has network: start a new run"):
        checkpoints.restore(state, {"optimizer": nn.Linear(2, 3)}, "last.pt")


def test_an_optimizer_that_does_not_fit_is_an_error_of_one_line(tmp_path):
    checkpoints.save(tmp_path / "last.pt", {"optimizer": optimizers.build("sgd", nn.Linear(2, 3).parameters())})
    state = checkpoints.load(tmp_path / "last.pt")
    entries = r"param_groups\.0\.params has the entries 1 only in the checkpoint and none only here"
    with pytest.raises(UserError, match=rf"last\.pt does not fit this optimizer: {entries}; start a new run$"):
        checkpoints.restore(
            state, {"optimizer": optimizers.build("sgd", nn.Linear(2, 3, bias=False).parameters())}, "last.pt"
        )


class AnyState:
    """A part of a run that accepts any state."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


OWN = {"sums": torch.zeros(2), "rates": [0.1, 0.2], "switch": None, "count": 1}


@pytest.mark.parametrize("change", [{}, {"switch": True}, {"count": 1.0}, {"rates": [3, 4]}], ids=str)
def test_a_state_of_the_same_form_is_loaded(change):
    part = AnyState(OWN)
    checkpoints.restore({"parts": {"schedule": OWN | change}}, {"schedule": part}, "last.pt")
    assert part.state == OWN | change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sums": torch.zeros(3)}, r"sums is torch\.float32 \[3\] in the checkpoint"),
        ({"sums": torch.zeros(2, dtype=torch.float64)}, r"sums is torch\.float64 \[2\] in the checkpoint"),
        ({"rates": [0.1]}, "rates has the entries none only in the checkpoint and 1 only here"),
        ({"rates": [0.1, 0.2, 0.3]}, "rates has the entries 2 only in the checkpoint and none only here"),
        ({"rates": [0.1, "2"]}, r"rates\.1 is a str in the checkpoint and a float here"),
        ({"switch": "on"}, "switch is a str in the checkpoint and a NoneType here"),
        (
            {"more": 1},
            "it has the entries more only in the checkpoint and none only here",
        ),
    ],
    ids=str,
)
def test_a_state_of_another_form_is_refused(change, message):
    part = AnyState(OWN)
    with pytest.raises(UserError, match=rf"^last\.pt does not fit this schedule: {message}; start a new run$"):
        checkpoints.restore({"parts": {"schedule": OWN | change}}, {"schedule": part}, "last.pt")
    assert part.state is OWN
