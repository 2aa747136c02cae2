"""torch.compile and torch.export of networks with features and transforms give the same numbers as plain calls.

These run in a subprocess, because torch cannot trace through the type checks of the other tests.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.augment_cases import REGISTRY
from tests.conftest import TEST_ALL

ROOT = Path(__file__).parent.parent
FEATURES = ["{}", "{'power': 2.0, 'compression': 'db'}", "{'sample_rate': 8000}"]
SIMILAR = ["gain_in_db", "nested", "study", "strong"]
"""Transforms that consist of those that other cases test."""
NAMES = [name for name in REGISTRY if TEST_ALL or name not in SIMILAR]
COMPILE = """
import json, sys, torch
from torch import nn
from gtzan_stream.features import LogMel
from tests.augment_cases import REGISTRY

class Network(nn.Module):
    def __init__(self, transform):
        super().__init__()
        self.transform, self.features, self.head = transform, LogMel(), nn.Linear(128, 3)

    def forward(self, waveform):
        return self.head(self.features(self.transform(waveform, ["a", "b"], seed=0, epoch=1)).mean(dim=2))

def waveform(features):
    return 0.1 * torch.randn(2, features.geometry.read_length, generator=torch.Generator().manual_seed(1))

def relative_difference(one, other):
    return float((one - other).abs().max() / other.abs().max())

differences = {}
for settings in json.loads(sys.argv[1]):
    features = LogMel(**eval(settings))
    samples = waveform(features)
    compiled = torch.compile(features, backend=sys.argv[2], fullgraph=True)
    differences["compiled " + settings] = relative_difference(compiled(samples), features(samples))
    for strict in (False, True):
        program = torch.export.export(features, (samples,), strict=strict).module()
        differences[f"exported {settings} {strict}"] = relative_difference(program(samples), features(samples))
for name in json.loads(sys.argv[3]):
    torch._dynamo.reset()
    torch.manual_seed(0)
    network = Network(REGISTRY[name](1.0))
    samples = waveform(network.features)
    output = torch.compile(network, backend=sys.argv[2])(samples)
    differences[name] = relative_difference(output, network(samples))
    output.sum().backward()
    assert network.head.weight.grad.isfinite().all()
print(json.dumps(differences))
"""


@pytest.fixture(scope="module", params=["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def differences(request: pytest.FixtureRequest) -> dict[str, float]:
    """Relative difference between compiled and plain results, by case. Inductor needs a C++ compiler."""
    arguments = [json.dumps(FEATURES), request.param, json.dumps(NAMES)]
    run = [sys.executable, "-W", "ignore", "-c", COMPILE, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("settings", FEATURES)
def test_features_are_compiled_as_one_graph_and_exported(settings: str, differences: dict[str, float]):
    assert differences[f"compiled {settings}"] < 1e-5
    assert differences[f"exported {settings} False"] < 1e-5
    assert differences[f"exported {settings} True"] < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_networks_with_transforms_are_compiled(name: str, differences: dict[str, float]):
    assert differences[name] < 1e-5
