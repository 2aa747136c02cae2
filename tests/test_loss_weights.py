"""Loss weights: averaged over ranks, the weighted sum of losses is the mean over the global batch."""

from pathlib import Path

import pytest
import torch
import webdataset

from gtzan_stream.augment import TimeStretch
from gtzan_stream.loader import Loader
from gtzan_stream.store.index import index
from tests.test_store_index import sound

LENGTHS = (70_000, 12_000, 70_000, 30_000, 70_000, 26_000, 70_000)
"""Samples in each clip: some are too short to count, or count at some rates of a time stretch only."""


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards with long and short clips; the last one was damaged after indexing."""
    folder = tmp_path_factory.mktemp("uneven")
    with webdataset.TarWriter(str(folder / "x.tar"), encoder=False) as tar:
        for i, frames in enumerate(LENGTHS):
            tar.write({"__key__": f"a_{i}", "wav": sound(i, frames=frames)})
    manifest = index(folder)
    with (folder / "x.tar").open("r+b") as file:
        file.seek(int(manifest.data_offset[6]))
        file.write(bytes(2 * LENGTHS[6]))
    return folder


def weighted(shards: Path, world_size: int, part: bool = True, **options) -> list[list[torch.Tensor]]:
    """Return (losses, weights, loss weights) of each rank and batch; a row's loss is a function of its features."""
    ranks = []
    for rank in range(world_size):
        options = {"batch_size": 8, "crops_per_clip": 3, "num_workers": 0, "on_error": "skip"} | options
        with Loader(shards, rank=rank, world_size=world_size, **options) as loader:
            source = loader if part else loader.evaluation(chunks="all")
            ranks.append([(b.features.mean((1, 2)), b.weights, b.loss_weights) for b in source])
    return ranks


@pytest.mark.parametrize("part", [True, False])
@pytest.mark.parametrize("world_size", [1, 3, 8, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 5))])
def test_the_average_over_ranks_is_the_mean_of_the_global_batch(shards: Path, world_size: int, part: bool):
    """The last batch has fillers, which are not spread evenly over the ranks."""
    for batch in zip(*weighted(shards, world_size, part), strict=True):
        average = torch.stack([(loss * loss_weights).sum() for loss, _, loss_weights in batch]).mean()
        losses, weights = (torch.cat([rank[i] for rank in batch]) for i in range(2))
        torch.testing.assert_close(average, (losses * weights).sum() / weights.sum())


@pytest.mark.parametrize("world_size", [1, 3, 8])
def test_skipped_rows_add_nothing_and_stay_in_the_number_of_rows(uneven: Path, world_size: int):
    """Clips 1, 3 and 5 are short: whether they count depends on the draws, which every rank computes for all rows."""
    options = {"augment": TimeStretch(0.5, 1.5), "seed": 1}
    counted = []
    for batch in zip(*weighted(uneven, world_size, **options), strict=True):
        weights, loss_weights = (torch.cat([rank[i] for rank in batch]) for i in (1, 2))
        assert torch.equal(loss_weights > 0, weights > 0)
        (share,) = set((loss_weights[weights > 0] / world_size).tolist())
        n_counted = round(1 / share)
        assert 1 / n_counted == pytest.approx(share)
        counted.append((n_counted, int(weights.sum())))
    alone = [rank for rank, *_ in zip(*weighted(uneven, 1, **options), strict=True)]
    assert counted == [(round(1 / float(rows[2].max())), int(rows[1].sum())) for rows in alone]
    assert any(n_counted > read for n_counted, read in counted)  # the damaged clip
    assert any(n_counted < 8 for n_counted, _ in counted[:-1])  # short clips


def test_a_row_counts_if_all_of_its_views_count(uneven: Path):
    options = {"batch_size": 8, "crops_per_clip": 3, "num_workers": 0, "on_error": "skip", "seed": 1}
    options |= {"augment": TimeStretch(0.5, 1.5)}
    with Loader(uneven, **options) as one, Loader(uneven, views=3, **options) as three:
        weights = [torch.cat([batch.weights for batch in loader]) for loader in (one, three)]
    assert (weights[1] <= weights[0]).all()
    assert weights[1].sum() < weights[0].sum()


def test_an_example_is_skipped_once_though_other_ranks_mix_with_it(uneven: Path):
    options = {"batch_size": 8, "crops_per_clip": 3, "num_workers": 0, "on_error": "skip", "mixup": 0.4}
    skipped = []
    for world_size in (1, 3):
        lines = []
        for rank in range(world_size):
            with Loader(uneven, rank=rank, world_size=world_size, **options) as loader:
                list(loader)
                lines += loader.skipped
        skipped.append(sorted(lines))
    assert skipped[0] == skipped[1]
    assert len(skipped[0]) == 3


def test_a_batch_without_an_example_that_counts_has_no_loss(uneven: Path):
    with Loader(uneven, batch_size=1, crops_per_clip=1, num_workers=0, augment="none", on_error="skip") as loader:
        weights = {batch.keys[0]: (float(batch.weights), float(batch.loss_weights)) for batch in loader}
    assert weights["a_1"] == weights["a_6"] == (0.0, 0.0)
    assert weights["a_0"] == (1.0, 1.0)
