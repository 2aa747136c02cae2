"""Loaders of the feature service: they yield what a local loader yields, to the bit, with and without the shards."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gtzan_stream import Loader
from gtzan_stream.augment import Compose, Gain, GaussianNoise, TimeStretch
from gtzan_stream.augment.recipes import names, study_names
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.features import LogMel, RawWaveform
from gtzan_stream.service import ServedLoader, Server
from gtzan_stream.store.pack import pack
from tests.served_cases import digest_of, serving

SETTINGS: dict[str, Any] = {"split": "three", "part": "train", "batch_size": 6, "crops_per_clip": 3}
RECIPES = [name for name in names() if name != "audiomentations"]
VARIANTS = [f"{kind}:{name}" for kind in ("only", "without") for name in study_names()]


@pytest.fixture(scope="module")
def service(shards: Path) -> Iterator[Server]:
    with serving(shards) as server:
        yield server


def both(service: Server, shards: Path, **settings: Any) -> tuple[ServedLoader, Loader]:
    """Open a served loader without shards, and a local one."""
    settings = {**SETTINGS, **settings}
    return ServedLoader(service.address, **settings), Loader(shards, **settings)


def assert_equal_epochs(served: ServedLoader, local: Loader, epochs: int = 1) -> None:
    with served, local:
        for _ in range(epochs):
            expected = digest_of(local)
            assert len(expected) == len(local) == len(served)
            assert digest_of(served) == expected


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_served_to_the_bit(service: Server, shards: Path, recipe: str):
    assert_equal_epochs(*both(service, shards, augment=recipe), epochs=2)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", VARIANTS)
def test_every_variant_of_the_study_is_served_to_the_bit(service: Server, shards: Path, recipe: str):
    assert_equal_epochs(*both(service, shards, augment=recipe))


@pytest.mark.parametrize("seed", [1, 2, 2**63 - 1])
def test_every_seed(service: Server, shards: Path, seed: int):
    assert_equal_epochs(*both(service, shards, seed=seed))


@pytest.mark.parametrize(
    "settings",
    [
        {"views": 2, "augment": "strong"},
        {"mixup": 0.4, "batch_size": 8},
        {"shuffle_shards": 1},
        {"shard_groups": 2},
        {"features": LogMel(frames=64, n_mels=40, compression="db")},
        {"features": RawWaveform(frames=3000)},
        {"augment": Compose([TimeStretch(0.8, 1.2), Gain.in_db(-6, 6, p=0.5), GaussianNoise(0.0, 0.1)])},
        {"split": None, "part": None},
        {"num_workers": 0},
    ],
    ids=repr,
)
def test_every_setting_of_a_loader(service: Server, shards: Path, settings: dict[str, Any]):
    assert_equal_epochs(*both(service, shards, **settings))


@pytest.mark.parametrize("world_size", range(2, 5))
def test_ranks_get_their_rows(service: Server, shards: Path, world_size: int):
    for rank in range(world_size):
        assert_equal_epochs(*both(service, shards, rank=rank, world_size=world_size))


@pytest.mark.parametrize("chunks", ["study", "all"])
def test_evaluations_are_served_to_the_bit(service: Server, shards: Path, chunks: Any):
    served, local = both(service, shards)
    with served, local:
        for part in ("valid", "test"):
            found, expected = served.evaluation(part, chunks=chunks), local.evaluation(part, chunks=chunks)
            assert digest_of(found) == digest_of(expected) != []
            assert repr(found).split("(")[0] == "ServedEvaluation"


def test_trainers_that_differ_in_training_share_evaluations(service: Server, shards: Path):
    streams = []
    for settings in ({"seed": 1, "augment": "none"}, {"seed": 2, "augment": "strong", "crops_per_clip": 1}):
        with both(service, shards, **settings)[0] as served:
            streams.append(served.evaluation("valid")._stream.digest)
    assert streams[0] == streams[1]


@pytest.mark.parametrize("consumed", range(4))
def test_a_state_passes_between_served_and_local_loaders(service: Server, shards: Path, consumed: int):
    served, local = both(service, shards, batch_size=4)
    with served, local:
        assert len(local) > 3
        expected = digest_of(local)
        for one, other in ((served, local), (local, served)):
            one.set_epoch(0)
            batches = iter(one)
            begun = digest_of(next(batches) for _ in range(consumed))
            other.load_state_dict(one.state_dict())
            assert begun + digest_of(other) == expected
            other.set_epoch(0)


def test_a_state_of_other_settings_is_refused(service: Server, shards: Path):
    served, _ = both(service, shards, seed=1)
    _, local = both(service, shards, seed=2)
    with served, local, pytest.raises(UserError, match="the state was taken with seed=2"):
        served.load_state_dict(local.state_dict())


def test_tensors_belong_to_the_trainer(service: Server, shards: Path):
    one, local = both(service, shards)
    other, _ = both(service, shards)
    with one, other, local:
        for batch in one:
            for tensor in batch.tensors.values():
                tensor.add_(1)
        assert digest_of(other) == digest_of(local)  # the server kept its batches


def test_each_batch_is_made_once_for_all_trainers(shards: Path):
    with serving(shards) as server:
        loaders = [ServedLoader(server.address, **SETTINGS) for _ in range(3)]
        for loader in loaders:
            with loader:
                digest_of(loader)
        (stream,) = server.stats()["streams"]
        assert (stream["requested"], stream["made"], stream["made_again"]) == (3 * len(loaders[0]), len(loaders[0]), 0)


def test_batches_that_left_the_cache_are_made_again(shards: Path):
    with serving(shards, cache_mb=2 * 6 * 128 * 128 * 4 / 1e6) as server:  # one batch, and not two with their headers
        with ServedLoader(server.address, **SETTINGS, num_workers=0) as loader, Loader(shards, **SETTINGS) as local:
            expected = digest_of(local)
            for _ in range(2):
                loader.set_epoch(0)
                assert digest_of(loader) == expected
        stats = server.stats()
        (stream,) = stats["streams"]
        assert stream["made"] == 2 * len(loader) == 2 * stream["made_again"]
        assert 0 < stats["cache"]["bytes"] <= stats["cache"]["max_bytes"]


def test_without_shards_only_features_can_be_had(service: Server, shards: Path):
    with both(service, shards)[0] as served:
        batch = next(iter(served))
        assert served.manifest.digest == service.manifest.digest
        assert np.array_equal(
            batch.draw.chosen, both(service, shards)[1].batch_of(batch.keys, batch.crops.tolist()).draw.chosen
        )
        with pytest.raises(UserError, match="is only on the servers: to read clips here too, copy the shards and give"):
            served.waveforms(batch)


def test_with_shards_waveforms_can_be_had(service: Server, shards: Path):
    settings = {**SETTINGS, "augment": "strong"}
    with ServedLoader(service.address, shards, **settings) as served, Loader(shards, **settings) as local:
        batch = next(iter(served))
        assert torch.equal(served.waveforms(batch), local.waveforms(batch))


def test_an_unreadable_example_fails_at_its_batch(shards: Path, tmp_path: Path):
    damaged = shutil.copytree(shards, tmp_path / "shards")
    with Loader(shards, **SETTINGS, augment="none") as local:
        clip = next(iter(local.evaluation("valid"))).keys[0]
        index = local.manifest.keys.index(clip).as_py()
        name, offset = local.manifest.shards[local.manifest.shard[index]].name, int(local.manifest.data_offset[index])
    with (damaged / name).open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * int(local.manifest.data_size[index]))
    settings = {**SETTINGS, "split": None, "part": None, "augment": "none", "batch_size": 2}
    with serving(damaged) as server:
        with ServedLoader(server.address, **settings) as served, Loader(damaged, **settings) as local:
            assert _until_error(served) == _until_error(local)
        settings["on_error"] = "skip"
        assert_equal_epochs(ServedLoader(server.address, **settings), Loader(damaged, **settings))
        # A trainer with intact shards makes what its server cannot read.
        served = ServedLoader(server.address, shards, **{**settings, "on_error": "fail"})
        assert_equal_epochs(served, Loader(shards, **settings))


def _until_error(loader: Loader) -> tuple[list[str], str]:
    """Return the digests of the batches before the one that cannot be made, and the error."""
    digests: list[str] = []
    try:
        for batch in loader:
            digests += digest_of([batch])
    except BadSample as error:
        return digests, str(error)
    raise AssertionError("every batch could be made")


def test_other_shards_are_refused(service: Server, clips_folder: Path, tmp_path: Path):
    pack(clips_folder / "blues", tmp_path / "other")
    with pytest.raises(UserError, match=r"has other clips than those of .*other: serve the same shards"):
        ServedLoader(service.address, tmp_path / "other")


def test_mistakes_are_one_line_errors(service: Server, shards: Path):
    with pytest.raises(UserError, match=r"no split is called|has no split"):
        ServedLoader(service.address, split="missing", part="train")
    with pytest.raises(UserError, match="is not the address of a server: write host:port"):
        ServedLoader("http://127.0.0.1:80", **SETTINGS)
    with pytest.raises(UserError, match="no server was named"):
        ServedLoader(",", **SETTINGS)
    with pytest.raises(TypeError, match="unexpected keyword"):
        ServedLoader(service.address, **SETTINGS, bathc_size=3)


def test_a_batch_that_is_too_large_is_refused(shards: Path):
    with serving(shards, cache_mb=4) as server:
        loader = ServedLoader(server.address, **{**SETTINGS, "batch_size": 64})
        with loader, pytest.raises(UserError, match=r"take 4\.2 MB, this server makes 4\.0 MB at most: .* --cache-mb"):
            next(iter(loader))


def test_a_closed_loader_says_so(service: Server, shards: Path):
    served, _ = both(service, shards)
    batches = iter(served)
    next(batches)
    served.close()
    with pytest.raises(UserError, match="this loader is closed"):
        next(batches)
    with pytest.raises(UserError, match="this loader is closed"):
        next(iter(served))


def test_batches_are_put_on_the_gpu(cuda: torch.device, service: Server, shards: Path):
    served, local = both(service, shards, augment="study")
    with served, local, ServedLoader(service.address, device=cuda, **SETTINGS, augment="study") as on_gpu:
        first = next(iter(on_gpu))
        assert {tensor.device.type for tensor in first.tensors.values()} == {"cuda"}
        on_gpu.set_epoch(0)
        assert digest_of(batch.to("cpu") for batch in on_gpu) == digest_of(local)


@pytest.mark.slow
@pytest.mark.parametrize("world_size", range(1, 5))
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("recipe", [*RECIPES, "audiomentations"])
def test_every_recipe_seed_and_number_of_ranks(service: Server, shards: Path, recipe: str, seed: int, world_size: int):
    for rank in range(world_size):
        assert_equal_epochs(*both(service, shards, augment=recipe, seed=seed, rank=rank, world_size=world_size))
