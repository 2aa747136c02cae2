"""What a server keeps: streams, the cache of replies, and counters."""

import gc
import json
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from gtzan_stream.described import describe_features
from gtzan_stream.errors import UserError
from gtzan_stream.features import LogMel
from gtzan_stream.service import counters
from gtzan_stream.service.cache import ReplyCache
from gtzan_stream.service.counters import Clients, StreamCounters
from gtzan_stream.service.protocol import NoSuchStream
from gtzan_stream.service.stream import Stream
from gtzan_stream.service.streams import Streams
from gtzan_stream.store.manifest import Manifest
from tests.waiting import wait_for

SETTINGS: dict[str, Any] = {
    "manifest_digest": "0" * 64,
    "features": describe_features(LogMel()),
    "split": "three",
    "part": "train",
    "batch_size": 4,
    "on_error": "fail",
}


def future_of(value: object) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def never() -> Future[Any]:
    raise AssertionError("a batch is made that is there")


# --- the cache --------------------------------------------------------------------------------------------------------


def test_what_is_being_made_is_not_begun_again():
    cache, future = ReplyCache(10), Future[Any]()
    assert cache.get("a", lambda: future) is future
    assert cache.get("a", never) is future
    future.set_result("reply")
    cache.finish("a", 5)
    assert cache.get("a", never) is future


def test_the_reply_used_longest_ago_is_evicted():
    cache = ReplyCache(10)
    for key in "abc":
        cache.get(key, lambda key=key: future_of(key))
        cache.finish(key, 4)
        cache.get("a", never)  # in use
    assert (len(cache), cache.n_bytes) == (2, 8)
    assert [cache.get(key, lambda: future_of("again")).result() for key in "abc"] == ["a", "again", "c"]


def test_an_error_is_not_kept():
    cache = ReplyCache(10)
    cache.get("a", lambda: future_of("error"))
    cache.finish("a", 0)
    assert cache.get("a", lambda: future_of("reply")).result() == "reply"
    assert len(cache) == cache.n_bytes == 0


def test_a_reply_larger_than_the_cache_is_not_kept():
    cache = ReplyCache(10)
    for key in "ab":
        cache.get(key, lambda: future_of("reply"))
        cache.finish(key, {"a": 4, "b": 11}[key])
    assert len(cache) == cache.n_bytes == 0


# --- counters ---------------------------------------------------------------------------------------------------------


def test_batches_made_again_are_counted(monkeypatch: pytest.MonkeyPatch):
    found = StreamCounters()
    for place in [(0, 0, 0, 1), (0, 1, 0, 1), (0, 0, 0, 1), (0, 0, 0, 2), (0, 0, 1, 2), (1, 0, 0, 1)]:
        found.add_made(*place)
    assert (found.made, found.made_again) == (6, 1)
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
    monkeypatch.setattr(counters, "_EPOCHS", 2)
    for epoch in range(5, 9):
        found.add_made(epoch, 0, 0, 1)
    found.add_made(0, 0, 0, 1)
    assert found.made_again == 1  # epoch 0 is forgotten


def test_clients_are_listed_for_a_minute(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(counters.time, "monotonic", lambda: now[0])
    clients = Clients()
    clients.add("one", None)
    clients.add("one", "stream")
    now[0] = 30.0
    clients.add("two", "stream")
    one, two = clients.to_list()
    assert one == {"client": "one", "requested": 2, "streams": ["stream"], "idle_s": 30.0}
    now[0] = 61.0
    assert [client["client"] for client in clients.to_list()] == ["two"]
    assert two["client"] == "two"


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_is_its_json():
    stream = Stream(**SETTINGS, seed=3)
    again = Stream.from_dict(json.loads(json.dumps(stream.to_dict())))
    assert again.to_dict() == stream.to_dict()
    assert again.digest == stream.digest
    assert len(stream.digest) == 32


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"batch_size": 5},
        {"part": "valid"},
        {"split": None},
        {"augment": "study"},
        {"features": describe_features(LogMel(n_mels=64))},
        {"on_error": "skip"},
        {"crops_per_clip": 2},
        {"shuffle_shards": 1},
        {"shard_groups": 2},
        {"views": 2},
        {"mixup": 0.5},
        {"chunks": "all"},
        {"manifest_digest": "1" * 64},
    ],
    ids=repr,
)
def test_every_setting_makes_another_stream(change: dict[str, Any]):
    assert Stream(**{**SETTINGS, **change}).digest != Stream(**SETTINGS).digest


def test_a_stream_of_wrong_settings_is_refused():
    good = Stream(**SETTINGS).to_dict()
    with pytest.raises(UserError, match="a stream is a JSON object, got 3"):
        Stream.from_dict(3)
    with pytest.raises(UserError, match="a stream has the settings manifest_digest, "):
        Stream.from_dict({**good, "more": 1})
    with pytest.raises(UserError, match="a stream has the settings manifest_digest, "):
        Stream.from_dict({key: value for key, value in good.items() if key != "seed"})
    for name, value in [("seed", True), ("seed", 1.5), ("split", 3), ("mixup", "x"), ("features", None), ("views", [])]:
        with pytest.raises(UserError, match=f"{name} of a stream must be"):
            Stream.from_dict({**good, name: value})


def open_streams(shards: Path, **options: Any) -> tuple[Streams, Manifest]:
    manifest = Manifest.open(shards)
    options = {"max_bytes": 10**8, "allow": (), "call_soon": lambda function: function(), **options}
    return Streams(manifest, torch.device("cpu"), **options), manifest


def test_a_stream_is_opened_once_and_its_batches_are_made_once(shards: Path):
    streams, manifest = open_streams(shards)
    stream = Stream(**{**SETTINGS, "manifest_digest": manifest.digest})
    with pytest.raises(NoSuchStream, match="has not opened the stream"):
        streams.find(stream.digest)
    (one, first), (other, second) = streams.open(stream), streams.open(stream)
    assert (first, second) == (True, False)
    assert one.result().frames == other.result().frames
    opened = streams.find(stream.digest)
    place = (0, 0, 0, 1)
    assert streams.get(opened, place).result() is streams.get(opened, place).result()
    assert opened.counters.to_dict().items() >= {"requested": 2, "made": 1, "made_again": 0, "failed": 0}.items()
    streams.close()


def test_a_stream_that_cannot_be_opened_is_tried_again(shards: Path):
    streams, _ = open_streams(shards)
    stream = Stream(**{**SETTINGS, "part": "missing"})
    for _ in range(2):
        reply, is_new = streams.open(stream)
        assert is_new
        with pytest.raises(UserError, match="missing"):
            reply.result()
    streams.close()


def test_all_who_wait_for_a_stream_get_the_error_and_the_next_opening_stays(shards: Path):
    calls: list[Callable[[], None]] = []
    streams, _ = open_streams(shards, call_soon=calls.append)
    stream = Stream(**{**SETTINGS, "part": "missing"})
    replies = [streams.open(stream)[0] for _ in range(2)]
    wait_for(lambda: len(calls) == 2)
    calls[0]()
    _, is_new = streams.open(stream)
    calls[1]()
    assert is_new
    assert streams.find(stream.digest)
    for reply in replies:
        with pytest.raises(UserError, match="missing"):
            reply.result(0)
    streams.close()


def test_streams_are_closed_when_there_are_too_many(shards: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gtzan_stream.service.streams._MAX_STREAMS", 2)
    streams, manifest = open_streams(shards)
    digests = []
    gc.disable()
    for seed in range(3):
        stream = Stream(**{**SETTINGS, "manifest_digest": manifest.digest, "seed": seed})
        streams.open(stream)[0].result()
        digests.append(stream.digest)
        if not seed:
            first = weakref.ref(streams.find(stream.digest))
    freed = first() is None
    gc.enable()
    with pytest.raises(NoSuchStream):
        streams.find(digests[0])
    assert freed, "it is closed when no batch of it is being made"
    assert [streams.find(digest).stream.seed for digest in digests[1:]] == [1, 2]
    streams.close()
