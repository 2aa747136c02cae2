"""The manifest of the servers' shards, which a loader without shards downloads."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gtzan_stream.errors import UserError
from gtzan_stream.service import ServedLoader, manifest
from gtzan_stream.service.protocol import decode, encode
from gtzan_stream.service.server import Server
from tests.service_programs import Middle, threaded

SETTINGS: dict[str, Any] = {"batch_size": 4, "crops_per_clip": 4, "augment": "none", "seed": 3}


@pytest.fixture(scope="module")
def served(shards: Path) -> Iterator[Server]:
    with threaded(shards) as server:
        yield server


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has no manifest from before."""
    monkeypatch.setattr(manifest, "_latest", {})


def test_a_manifest_that_is_not_the_one_named_is_refused(served: Server):
    def name_another(request: dict[str, Any], frames: list[Any]) -> list[Any]:
        another = encode({**decode(frames[1]), "manifest_digest": "0" * 64})
        return [frames[0], another] if request["ask"] == "hello" else frames

    with (
        Middle(served, name_another) as middle,
        pytest.raises(UserError, match="is not the manifest that the server named"),
    ):
        ServedLoader(middle.address, **SETTINGS)


def test_the_clips_are_those_of_the_first_server_in_the_list(served: Server, tiny: Path):
    with threaded(tiny) as other:
        for first, second in ((served, other), (other, served)) * 3:
            with (
                Middle(first, slow) as middle,
                ServedLoader([middle.address, second.address], **SETTINGS, split=None) as batches,
            ):
                assert batches.manifest.digest == first.manifest.digest
        with ServedLoader(["127.0.0.1:1", other.address], **SETTINGS, split=None) as batches:
            assert batches.manifest.digest == other.manifest.digest


def slow(request: dict[str, Any], frames: list[Any]) -> list[Any]:
    time.sleep(0.2 if request["ask"] == "hello" else 0)
    return frames


def test_a_manifest_is_downloaded_from_a_server_that_fails_first(served: Server):
    failures = iter([{"error": "ServiceError", "message": "not yet"}, {"size": 1 << 40}])

    def fail(request: dict[str, Any], frames: list[Any]) -> list[Any]:
        failure = next(failures, None) if request["ask"] == "file" else None
        return frames if failure is None else [frames[0], encode(failure), b"x"]

    with Middle(served, fail) as middle, ServedLoader(middle.address, **SETTINGS) as batches:
        assert batches.manifest.digest == served.manifest.digest
        assert middle.asked.count("file") == 5


def test_a_server_that_cannot_read_its_manifest_says_so(served: Server):
    def refuse(request: dict[str, Any], frames: list[Any]) -> list[Any]:
        return (
            [frames[0], encode({"error": "UserError", "message": "no access"})] if request["ask"] == "file" else frames
        )

    with (
        Middle(served, refuse) as middle,
        pytest.raises(UserError, match=r"^the manifest could not be downloaded \(no access\)"),
    ):
        ServedLoader(middle.address, **SETTINGS)
    assert middle.asked.count("file") == 1


def test_a_server_that_never_sends_the_manifest_is_one_error(served: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(manifest, "_START_S", 0.5)

    def fail(request: dict[str, Any], frames: list[Any]) -> list[Any]:
        return [frames[0], encode({"size": -1}), b""] if request["ask"] == "file" else frames

    with Middle(served, fail) as middle, pytest.raises(UserError, match="the manifest could not be downloaded "):
        ServedLoader(middle.address, **SETTINGS)
    assert 1 < middle.asked.count("file") < 10
