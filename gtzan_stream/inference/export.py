"""A trained network as one file that runs without its code: a `torch.export` program from waveform to logits."""

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
from gtzan_stream.dsp.backend import force
from gtzan_stream.errors import UserError, first_line
from gtzan_stream.geometry import Geometry
from gtzan_stream.words import short_repr

MODEL = "model.pt2"
METADATA = "gtzan_stream.json"
INPUT = (
    "waveform [batch, (frames - 1) * step + frame_length], float32, mono at sample_rate, full scale at +/-1. Chunk i "
    "of a recording begins `context` samples before its sample `i * frames * step`; both ends of the recording are "
    "continued by reflection. Where it ends inside a chunk, samples that no frame centred on it needs are NaN, and the "
    "frames after that are taken as `silence`."
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What is known of a model, stored in its file as ``gtzan_stream.json``.

    Parameters
    ----------
    model : str
        Name of the network.
    labels : list of str
        Names of the logits.
    geometry : Geometry
        Of the features inside: the sample rate, the samples of one input and where it lies in a recording.
    input : str
        The same in words.
    version, torch : str
        What wrote the file.
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
    """From waveform to logits: features, silence where the recording has ended, normalisation, network.

    Parameters
    ----------
    features : Module
        With a `geometry`.
    network : Module
        From features to logits, its normalisation included.
    """

    ends: Tensor

    def __init__(self, features: Any, network: nn.Module) -> None:
        super().__init__()
        self.features, self.network = features, network
        geometry: Geometry = features.geometry
        self.silence = geometry.silence
        ends = torch.from_numpy(geometry.span(np.arange(1, geometry.frames + 1)))
        self.register_buffer("ends", ends)  # samples that frames up to each one need: int64 [frame]

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits [batch, n_classes] of waveforms [batch, time] that end in NaN where samples are missing."""
        missing = waveform.isnan()
        present = (~missing).sum(dim=1, keepdim=True)
        features = self.features(waveform.masked_fill(missing, 0))
        return logits_of(self.network(features.masked_fill((self.ends > present)[:, None], self.silence)))


def logits_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The network's own logits; in training, some networks return those of auxiliary heads after them."""
    return output if isinstance(output, Tensor) else output[0]


def write(path: Path, network: nn.Module, features: Any, *, labels: Sequence[str], config: dict[str, Any]) -> None:
    """Write a network as a program that `torch.export.load` reads without the code that it was made of.

    Its one input is a batch of waveforms, of any size, and its output their logits, both float32. A network that
    `torch.export` cannot trace leaves no file, and a warning in the log.

    Parameters
    ----------
    path : Path
        File to write.
    network : Module
        From features to logits, its normalisation included; on any device. It is not changed.
    features : Module
        What it was fed.
    labels : sequence of str
    config : dict
        Settings of the run, plain JSON, with the network's name as ``model``.
    """
    program = _portable(Program(features, network))
    example = torch.zeros(2, features.geometry.read_length, dtype=torch.float32)
    try:
        with force("torch"), torch.no_grad(), _quiet():
            traced = torch.export.export(program, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception as error:  # a user's network may do anything
        _log.warning("%s was not written: torch.export cannot trace this network (%s)", path, first_line(error))
        return
    metadata = Metadata(model=config["model"], labels=list(labels), config=config, geometry=features.geometry)
    n_bytes = sum(tensor.nbytes for tensor in traced.state_dict.values())
    with atomic_write(path, n_bytes) as file, _quiet():
        torch.export.save(traced, file, extra_files={METADATA: json.dumps(dataclasses.asdict(metadata), indent=2)})


class Model:
    """A model of a file: metadata, and a program to call.

    Attributes
    ----------
    metadata : Metadata
    """

    def __init__(self, metadata: Metadata, program: torch.nn.Module) -> None:
        self.metadata, self._program = metadata, program

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """Open what `write` has written. As with every program, only take it from people you trust.

        Raises
        ------
        UserError
            If it is something else, such as a checkpoint.
        """
        metadata = read_metadata(Path(path))
        try:
            with Path(path).open("rb") as file, _quiet():
                exported = torch.export.load(file)
                program, expected = exported.module(), _shapes(exported)
        except Exception as error:  # torch raises all kinds
            raise UserError(
                f"{path} was written with torch {metadata.torch} and cannot be loaded with torch {torch.__version__} "
                f"({first_line(error)}): train again, or use the torch that it was written with"
            ) from error
        if wrong := _misfit(metadata, *expected):
            raise UserError(f"{path} does not fit its own {METADATA}, {wrong}: copy or train it again")
        return cls(metadata, program)

    @torch.no_grad()
    def __call__(self, waveform: Tensor) -> Tensor:
        """Logits [batch, n_classes] of waveforms [batch, ``metadata.geometry.read_length``]."""
        return self._program(waveform)


def read_metadata(path: Path) -> Metadata:
    """Read what a model says of itself, without loading it.

    Raises
    ------
    UserError
        If the file is not a model of this program.
    """
    expected = f"expected the {MODEL} that train.py writes into a run's folder"
    if not path.exists():
        raise UserError(f"{path} does not exist: {expected}")
    if path.is_dir():
        raise UserError(f"{path} is a folder: {expected}" + f", {path / MODEL}" * (path / MODEL).is_file())
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()  # torch does not compare the checksums of what it reads
                name = next((name for name in archive.namelist() if name.endswith(f"/extra/{METADATA}")), None)
                content = {} if name is None else json.loads(archive.read(name))
        except Exception:  # zipfile raises all kinds on wrong bytes
            damaged, content = None, {}
    if damaged:
        raise UserError(f"{path} is damaged: the checksum of {damaged} in it is wrong; copy or train it again")
    try:
        metadata = Metadata(**content | {"geometry": Geometry(**content["geometry"])})
    except (TypeError, KeyError, ValueError, OverflowError):
        what = "a checkpoint, which needs the network's code" if path.suffix == ".pt" else "no model of gtzan-stream"
        raise UserError(f"{path} is {what}: {expected}") from None
    if wrong := _impossible(metadata):
        raise UserError(f"{path} holds a {METADATA} in which {wrong}: copy or train it again")
    return metadata


def _impossible(metadata: Metadata) -> str | None:
    """What in a model's metadata no model has, in words."""
    labels, sample_rate = metadata.labels, metadata.geometry.sample_rate
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        return f"labels must be a list of names, got {short_repr(labels)}"
    if len(set(labels)) < len(labels):
        return f"labels must differ, got {short_repr(labels)}"
    if sample_rate > RATES[-1]:  # files are resampled to it
        return f"sample_rate must be at most {RATES[-1]} Hz, got {short_repr(sample_rate)}"
    texts = (metadata.model, metadata.input, metadata.version, metadata.torch)
    if not all(isinstance(text, str) for text in texts) or not isinstance(metadata.config, dict):
        return "model, input, version and torch must be texts, and config an object"
    return None


def _shapes(exported: torch.export.ExportedProgram) -> tuple[list[int], list[int], list[int]]:
    """Of a program: shape of its input and of its output without the batch, and samples that frames up to each need."""
    values = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    signature = exported.graph_signature
    (waveform,), (logits,) = signature.user_inputs, signature.user_outputs
    return *([int(size) for size in values[name].shape[1:]] for name in (waveform, logits)), (
        exported.state_dict["ends"].tolist()
    )


def _misfit(metadata: Metadata, time: list[int], classes: list[int], ends: list[int]) -> str | None:
    """Where the metadata and the shapes of their program differ, in words."""
    labels, geometry = metadata.labels, metadata.geometry
    if classes != [len(labels)]:
        return f"which has {len(labels)} labels for logits of shape {classes}"
    if geometry.frames != len(ends):  # first: the metadata may say any number
        return f"where frames is {short_repr(geometry.frames)} instead of {len(ends)}"
    if time != [geometry.read_length] or ends != [geometry.span(n) for n in range(1, geometry.frames + 1)]:
        return f"where frames of {geometry.frame_length} samples, {geometry.step} apart, are not those of its input"
    return None


def _portable(program: Program) -> Program:
    """A copy on the CPU, in evaluation, whose tensors are contiguous and do not share storage."""
    program = copy.deepcopy(program).cpu().eval()
    for tensor in itertools.chain(program.parameters(), program.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what torch says about its own internals: warnings, and tracebacks that it logs besides raising them."""
    log = logging.getLogger("torch.export")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.disabled = before
