"""The names of random choices are data: renaming one would change every draw, and with it every published result."""

from pathlib import Path

import numpy as np
import pytest
import torch

import gtzan_stream.layout
import gtzan_stream.plan
from gtzan_stream.augment import Audiomentations, Gain, Transform, recipe
from gtzan_stream.dsp import random
from gtzan_stream.loader import Loader
from gtzan_stream.permutation import permute
from gtzan_stream.spec_augment import spec_augment_mask
from gtzan_stream.training import collectives

FEATURES = {
    "mixup.share",
    "spec_augment.bands.start",
    "spec_augment.bands.width",
    "spec_augment.frames.start",
    "spec_augment.frames.width",
    "view1",
}
GROUPS = {"groups", "group0.order", "group1.order.0", "group1.order.1", "group1.shards"}
ORDER = {"crop", "order", "order.0", "order.1", "order.2", "shards"}
NAMES = {
    "study": {
        "OneOf.0/Identity.noise",
        "OneOf.1/GaussianNoise.noise",
        "OneOf.1/GaussianNoise.std",
        "OneOf.2/TimeShift.noise",
        "OneOf.2/TimeShift.shift",
        "OneOf.3/TimeStretch.noise",
        "OneOf.3/TimeStretch.rate",
        "OneOf.4/PitchShift.n_steps",
        "OneOf.4/PitchShift.noise",
        "OneOf.5/SpeedPerturb.factor",
        "OneOf.5/SpeedPerturb.noise",
        "OneOf.6/Gain.gain",
        "OneOf.6/Gain.noise",
        "OneOf.7/Percussive.noise",
        "OneOf.noise",
        "OneOf.pick",
    },
    "strong": {
        "Compose.0/TimeShift.noise",
        "Compose.0/TimeShift.shift",
        "Compose.1/OneOf.0/TimeStretch.noise",
        "Compose.1/OneOf.0/TimeStretch.rate",
        "Compose.1/OneOf.1/PitchShift.n_steps",
        "Compose.1/OneOf.1/PitchShift.noise",
        "Compose.1/OneOf.2/SpeedPerturb.factor",
        "Compose.1/OneOf.2/SpeedPerturb.noise",
        "Compose.1/OneOf.chosen",
        "Compose.1/OneOf.noise",
        "Compose.1/OneOf.pick",
        "Compose.2/Percussive.chosen",
        "Compose.2/Percussive.noise",
        "Compose.3/Gain.chosen",
        "Compose.3/Gain.gain",
        "Compose.3/Gain.noise",
        "Compose.4/GaussianNoise.chosen",
        "Compose.4/GaussianNoise.noise",
        "Compose.4/GaussianNoise.std",
        "Compose.noise",
    },
}
RANKS = {"dropout.1"}
DRAWS = {
    "study": {
        "pick": (0.0, 5.0),
        "1.std": (0.005, 0.005),
        "2.shift": (1600.0, 1600.0),
        "3.rate": (float.fromhex("0x1.0b16784169a41p+0"), float.fromhex("0x1.fbc4bd1cdd672p-1")),
        "4.n_steps": (float.fromhex("0x1.a121116cadc7bp+1"), float.fromhex("0x1.dcbf3a48d067cp-1")),
        "5.rate": (1 / float.fromhex("0x1.c97c4e18b6d6bp-1"), 1 / float.fromhex("0x1.f294597b9c133p-1")),
        "6.gain": (float.fromhex("0x1.4101d68b58edcp+1"), float.fromhex("0x1.18d3ce4fed498p+1")),
    },
    "strong": {
        "0.shift": (246.0, -109.0),
        "1.pick": (0.0, 2.0),
        "1.0.rate": (float.fromhex("0x1.09c4d5be660c2p+0"), float.fromhex("0x1.13914ede39e8ap+0")),
        "1.1.n_steps": (-float.fromhex("0x1.90017f4c3b75ap+1"), -float.fromhex("0x1.84943ef48bec4p+0")),
        "1.2.rate": (1 / float.fromhex("0x1.1d43c81a89db1p+0"), 1 / float.fromhex("0x1.3c5f9020db196p+0")),
        "3.gain": (float.fromhex("0x1.30afcdd862c1cp+0"), float.fromhex("0x1.131b6d225b5d9p+0")),
        "4.std": (float.fromhex("0x1.4f1d9b6e1f995p-8"), float.fromhex("0x1.5de542a9ea889p-8")),
    },
}
STARTS = {"blues_00000": [71, 127], "blues_00002": [170, 169], "jazz_00000": [126, 113], "metal_00001": [132, 60]}
PERMUTED = {
    10: [4, 1, 7, 6, 0, 8, 3, 2, 5, 9],
    16: [7, 9, 0, 4, 1, 12, 3, 2, 8, 10, 15, 13, 6, 11, 5, 14],
}
CHOSEN = [  # rows: the keys a to f; columns: the five members of "strong"
    [True, True, False, False, False],
    [True, False, False, True, False],
    [True, True, False, True, False],
    [True, False, False, True, True],
    [True, True, False, True, True],
    [True, True, False, False, True],
]
FIRST_ROWS = [
    ("metal_00001", 0),
    ("metal_00002", 5),
    ("blues_00003", 4),
    ("metal_00001", 5),
    ("metal_00000", 4),
    ("blues_00000", 2),
    ("metal_00000", 7),
    ("metal_00000", 6),
]
SHARES = [1.0, 1.0, 0.980683, 0.991983, 0.990285, 0.573929, 1.0, 1.0]
SECOND_GAINS = [1.8016810968964614, 1.6336822082665596]
HIDDEN = [26, 25]
NOISE_KEYS = {"study": 0x1F4738B74CB3AB33, "strong": 0x86A3C821D93BD2F3}


@pytest.mark.parametrize("name", NAMES)
def test_the_names_of_choices_are_frozen(name: str, shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: set[str] = set()
    rng = random.rng

    def spy(seed: int, epoch: int, name: str) -> int:
        made.add(name)
        return rng(seed, epoch, name)

    for module in (random, gtzan_stream.layout, gtzan_stream.plan):
        monkeypatch.setattr(module, "rng", spy)
    options = {"augment": name, "crops_per_clip": 1, "num_workers": 0}
    for shuffle_shards in (None, 1):
        list(Loader(shards, shuffle_shards=shuffle_shards, **options))
    assert made - {f"order.{block}" for block in range(3, 10)} == NAMES[name] | ORDER
    made.clear()
    for batch in Loader(shards, mixup=0.4, views=2, shard_groups=2, shuffle_shards=1, **options):
        spec_augment_mask(batch, 8)
    assert made == NAMES[name] | FEATURES | GROUPS | {"crop"}


def test_the_draws_of_groups_mixtures_views_and_masks_are_frozen(shards: Path) -> None:
    loader = Loader(shards, mixup=0.4, views=2, shard_groups=2, seed=3, augment=Gain(), num_workers=0, batch_size=8)
    batch = next(iter(loader))
    hidden = spec_augment_mask(batch, 32)[0, 1]
    assert list(zip(batch.keys, batch.crops.tolist(), strict=True)) == FIRST_ROWS
    assert batch.targets.amax(1).tolist() == pytest.approx(SHARES, abs=1e-6)
    assert batch.draws[1].values["gain"][:2].tolist() == SECOND_GAINS
    assert [int(hidden.all(axis).sum()) for axis in (0, 1)] == HIDDEN


def test_the_seeds_of_dropout_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collectives, "rank_and_world_size", lambda: (1, 2))
    collectives.seed_rank(3, 2)
    assert torch.initial_seed() == random.rng(3, 2, "dropout.1")


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_frozen(name: str) -> None:
    draw = recipe(name).draw(["blues_00000", "jazz_00042"], seed=3, epoch=2, crops=np.array([0, 5]))
    for path, expected in DRAWS[name].items():
        *indices, parameter = path.split(".")
        part = draw
        for index in indices:
            part = part.children[int(index)]
        assert tuple(part.values[parameter].tolist()) == expected, path
    first = draw if name == "study" else draw.children[0]
    assert first.rng == NOISE_KEYS[name]


def test_the_chosen_examples_are_frozen() -> None:
    draw = recipe("strong").draw(list("abcdef"), seed=3, epoch=2)
    assert np.array([child.chosen for child in draw.children]).T.tolist() == CHOSEN


def test_the_names_of_audiomentations_are_frozen() -> None:
    draw = Audiomentations(np.copy, num_workers=0).draw(["blues_00000"], seed=3, epoch=2)
    assert draw.rng == random.rng(3, 2, "Audiomentations.noise")
    key, crop = random.hash_keys(["blues_00000"]), np.zeros(1, np.uint32)
    expected = np.floor(random.uniform(random.rng(3, 2, "Audiomentations.seed"), key, crop)[:, 0] * 2**53)
    assert draw.values["seed"].tolist() == expected.tolist()


def test_the_starts_of_crops_are_frozen(shards: Path) -> None:
    starts: dict[str, list[int]] = {}
    for batch in Loader(shards, augment="none", seed=3, crops_per_clip=2, num_workers=0):
        for key, crop, start in zip(batch.keys, batch.crops.tolist(), batch.starts.tolist(), strict=True):
            starts.setdefault(key, [0, 0])[crop] = start // 512
    assert {key: starts[key] for key in ("blues_00000", "blues_00002", "jazz_00000", "metal_00001")} == STARTS


def test_the_name_of_a_custom_transform_is_its_class() -> None:
    class Louder(Transform):
        pass

    assert Louder().draw(["a"]).rng == random.rng(0, 0, "Louder.noise")


@pytest.mark.parametrize(
    ("n", "key", "order"),
    [
        (5, 7, [4, 1, 2, 3, 0]),
        (10, 7, PERMUTED[10]),
        (16, 2**63 + 5, PERMUTED[16]),
    ],
)
def test_permutations_are_frozen(n: int, key: int, order: list[int]) -> None:
    assert permute(np.arange(n), n, key).tolist() == order
