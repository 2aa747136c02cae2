"""Write and read model.pt2: a trained network as a `torch.export` program from waveform to logits."""

import copy
import dataclasses
import itertools
import json
import logging
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gtzan_stream import __version__
from gtzan_stream.atomic import atomic_write
from gtzan_stream.audio.decode import RATES
from gtzan_stream.errors import UserError, first_line
from gtzan_stream.geometry import Geometry
from gtzan_stream.words import short_repr

MODEL = "model.pt2"
METADATA = "gtzan_stream.json"
INPUT = (
    "waveform [batch, (frames - 1) * step + frame_length], float32, mono at sample_rate, full scale at +/-1. Chunk i "
    "of a recording begins `context` samples before its sample `i * frames * step`; both ends of the recording are "
    "extended by reflection. If the recording ends inside a chunk, fill samples that only frames after its end read "
    "with NaN; the program sets the features of those frames to `silence`."
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The description of a model, stored in its file as ``gtzan_stream.json``.

    Parameters
    ----------
    model : str
        Name of the network.
    labels : list of str
        Names of the classes, in the order of the logits.
    geometry : Geometry
        Geometry of its features, which says how to cut a recording into inputs.
    input : str
        Description of the program's input, in words.
    version, torch : str
        Versions of gtzan_stream and torch that wrote the file.
    config : dict
        Settings of the run.
    """

    model: str
    labels: list[str]
    geometry: Geometry
    input: str = INPUT
    version: str = __version__
    torch: str = str(torch.__version__)
    config: dict[str, Any]


class Program(nn.Module):
    """The exported module: features, silence after the recording's end, normalisation and network.

    Parameters
    ----------
    features : Module
        With a `geometry`.
    network : Module
        Maps features to logits, including normalisation.
    """

    ends: Tensor

    def __init__(self, features: Any, network: nn.Module) -> None:
        super().__init__()
        self.features, self.network = features, network
        geometry: Geometry = features.geometry
        self.silence = geometry.silence
        ends = torch.from_numpy(geometry.span(np.arange(1, geometry.frames + 1)))
        self.register_buffer("ends", ends)  # number of samples that the first n frames read: int64 [frame]

    def forward(self, waveform: Tensor) -> Tensor:
        """Compute logits [batch, n_classes] from waveforms [batch, time]; NaN at a row's end marks missing samples."""
        missing = waveform.isnan()
        present = (~missing).sum(dim=1, keepdim=True)
        features = self.features(waveform.masked_fill(missing, 0))
        return logits_of(self.network(features.masked_fill((self.ends > present)[:, None], self.silence)))


def logits_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the network's own logits; in training mode, networks with auxiliary heads return a tuple."""
    return output if isinstance(output, Tensor) else output[0]


def write(path: Path, network: nn.Module, features: Any, *, labels: Sequence[str], config: dict[str, Any]) -> None:
    """Write a network as a program that `torch.export.load` can read without the network's code.

    Its input is a batch of waveforms, of any batch size, and its output their logits, both float32. If `torch.export`
    cannot trace the network, no file is written and a warning is logged.

    Parameters
    ----------
    path : Path
        File to write.
    network : Module
        Maps features to logits, including normalisation; on any device. Not modified.
    features : Module
        Computes its features.
    labels : sequence of str
    config : dict
        Settings of the run, as JSON can hold them, with the network's name as ``model``.
    """
    program = _portable(Program(features, network))
    example = torch.zeros(2, features.geometry.read_length, dtype=torch.float32)
    try:
        with torch.no_grad(), _quiet():
            traced = torch.export.export(program, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception as error:  # a user's network may do anything
        _log.warning("%s was not written: torch.export cannot trace this network (%s)", path, first_line(error))
        return
    metadata = Metadata(model=config["model"], labels=list(labels), config=config, geometry=features.geometry)
    n_bytes = sum(tensor.nbytes for tensor in traced.state_dict.values())
    with atomic_write(path, n_bytes) as file, _quiet():
        torch.export.save(traced, file, extra_files={METADATA: json.dumps(dataclasses.asdict(metadata), indent=2)})


class Model:
    """A model read from a file: its metadata and its program.

    Attributes
    ----------
    metadata : Metadata
    """

    def __init__(self, metadata: Metadata, program: torch.nn.Module) -> None:
        self.metadata, self._program = metadata, program

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """Read a file that `write` wrote, or the model.pt2 in a run's folder.

        It is a program: only load files from people you trust.

        Raises
        ------
        UserError
            If it is not such a file, is damaged, or needs another version of torch.
        """
        path = Path(path)
        path = path / MODEL if path.is_dir() else path
        metadata = read_metadata(path)
        try:
            with path.open("rb") as file, _quiet():
                exported = torch.export.load(file)
                program, expected = exported.module(), _shapes(exported)
        except Exception as error:  # torch raises many types
            raise UserError(
                f"{path} was written with torch {metadata.torch} and cannot be loaded with torch {torch.__version__} "
                f"({first_line(error)}): train again, or use the torch that it was written with"
            ) from error
        if wrong := _misfit(metadata, *expected):
            raise UserError(f"{path} does not fit its own {METADATA}, {wrong}: copy or train it again")
        return cls(metadata, program)

    @torch.no_grad()
    def __call__(self, waveform: Tensor) -> Tensor:
        """Compute logits [batch, n_classes] from waveforms [batch, ``metadata.geometry.read_length``]."""
        return self._program(waveform)


def read_metadata(path: Path) -> Metadata:
    """Read the metadata of a model without loading its program.

    Raises
    ------
    UserError
        If the file is not a model that `write` wrote, or is damaged.
    """
    expected = f"expected the {MODEL} that train.py writes into a run's folder"
    if not path.exists():
        raise UserError(f"{path} does not exist: {expected}")
    if path.is_dir():
        raise UserError(f"{path} is a folder: {expected}")
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()  # torch does not verify checksums
                name = next((name for name in archive.namelist() if name.endswith(f"/extra/{METADATA}")), None)
                content = {} if name is None else json.loads(archive.read(name))
        except Exception:  # on damaged files, zipfile raises many types
            damaged, content = None, {}
    if damaged:
        raise UserError(f"{path} is damaged: the checksum of {damaged} in it is wrong; copy or train it again")
    try:
        metadata = Metadata(**content | {"geometry": Geometry(**content["geometry"])})
    except (TypeError, KeyError, ValueError, OverflowError):
        what = "a checkpoint, which needs the network's code" if path.suffix == ".pt" else "not a model of gtzan-stream"
        raise UserError(f"{path} is {what}: {expected}") from None
    if wrong := _impossible(metadata):
        raise UserError(f"{path} holds a {METADATA} in which {wrong}: copy or train it again")
    return metadata


def _impossible(metadata: Metadata) -> str | None:
    """Describe the first impossible value in a model's metadata; None if there is none."""
    labels, sample_rate = metadata.labels, metadata.geometry.sample_rate
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        return f"labels must be a list of names, got {short_repr(labels)}"
    if len(set(labels)) < len(labels):
        return f"labels must differ, got {short_repr(labels)}"
    if sample_rate > RATES[-1]:  # audio files are resampled to it
        return f"sample_rate must be at most {RATES[-1]} Hz, got {short_repr(sample_rate)}"
    texts = (metadata.model, metadata.input, metadata.version, metadata.torch)
    if not all(isinstance(text, str) for text in texts) or not isinstance(metadata.config, dict):
        return "model, input, version and torch must be strings, and config an object"
    return None


def _shapes(exported: torch.export.ExportedProgram) -> tuple[list[int], list[int], list[int]]:
    """Return a program's input shape and output shape, both without the batch axis, and its buffer `ends`."""
    values = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    signature = exported.graph_signature
    (waveform,), (logits,) = signature.user_inputs, signature.user_outputs
    time, classes = ([int(size) for size in values[name].shape[1:]] for name in (waveform, logits))
    return time, classes, exported.state_dict["ends"].tolist()


def _misfit(metadata: Metadata, time: list[int], classes: list[int], ends: list[int]) -> str | None:
    """Describe the first difference between a model's metadata and its program's shapes; None if they agree."""
    labels, geometry = metadata.labels, metadata.geometry
    if classes != [len(labels)]:
        return f"which has {len(labels)} labels for logits of shape {classes}"
    if geometry.frames != len(ends):  # checked first: a huge value would make the next check slow
        return f"where frames is {short_repr(geometry.frames)} instead of {len(ends)}"
    if time != [geometry.read_length] or ends != [geometry.span(n) for n in range(1, geometry.frames + 1)]:
        return f"where frames of {geometry.frame_length} samples, {geometry.step} apart, are not those of its input"
    return None


def _portable(program: Program) -> Program:
    """Copy a program to the CPU, in evaluation mode, with contiguous tensors that do not share storage."""
    program = copy.deepcopy(program).cpu().eval()
    for tensor in itertools.chain(program.parameters(), program.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide torch's warnings about its own internals, and errors that it logs before it raises them."""
    log = logging.getLogger("torch.export")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.disabled = before
