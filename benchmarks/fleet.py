"""Evaluate the plan of a large training without running it: ``python benchmarks/fleet.py``.

By default: 100 million clips in 1.5 million shards, 1,024 ranks on 128 nodes. The benchmark writes a table of the
shards (parquet) and the indices of the part's clips (memory-mapped), without audio, and computes with the real `Layout`
and `EpochPlan`:

- time and memory that a rank needs to read the table and to plan its first batch, in a new process;
- the share of the set that a node downloads, for several numbers of groups of shards, before and after losing a node;
- the share that it downloads again in the second epoch, by the size of its cache;
- how well the examples of a global batch are mixed: the entropy of their shards and labels. The synthetic labels are
  the hardest case, as each label has shards of its own.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))  # benchmarks run from the checkout

from benchmarks.lib import tables
from benchmarks.lib.common import RESULTS, run, save, show, spread
from benchmarks.lib.memory import memory_mb, peak_mb, reset_peak
from gtzan_stream.layout import Layout
from gtzan_stream.permutation import permute
from gtzan_stream.plan import EpochPlan, rows_of_rank, rows_of_ranks

CPU = torch.device("cpu")
RANKS_PER_NODE, ROWS_PER_RANK = 8, 16
CACHES = (0.5, 1.0, 1.1)
"""Sizes of a node's cache, relative to its even share of the set."""
SHUFFLE_SHARDS = (1, 16, 256)
USUAL_SHUFFLE_SHARDS = 16
N_LABELS = 1000


def write(folder: Path, n_clips: int, n_shards: int) -> None:
    """Write the table of the shards and the indices of all clips. Shards have a Poisson-distributed number of clips."""
    clips = 1 + np.random.default_rng(0).poisson(n_clips / n_shards - 1, n_shards)
    names = pa.array([f"clips-{number:07d}.tar" for number in range(n_shards)])
    pq.write_table(pa.table({"name": names, "clips": clips}), folder / "shards.parquet")
    np.arange(clips.sum(), dtype=np.int64).tofile(folder / "clips.bin")


def open_layout(folder: Path, n_groups: int, batch_size: int) -> Layout:
    """Read the counts of the shards, map the clips into memory, and deal the shards to groups."""
    counts = pq.read_table(folder / "shards.parquet", columns=["clips"])["clips"].to_numpy()
    clips = np.memmap(folder / "clips.bin", np.int64, "r")
    layout = Layout(
        clips=clips,
        shards=np.arange(len(counts)),
        clips_per_shard=counts,
        crops=1,
        batch_size=batch_size,
        n_groups=n_groups,
        seed=1,
    )
    _ = layout.pieces  # dealt now, so that it counts
    return layout


def probe(folder: Path, n_groups: int, batch_size: int) -> dict[str, float]:
    """Measure seconds and peak MB to open the layout and to plan the first batch of the last rank."""
    n_ranks = batch_size // ROWS_PER_RANK
    permute(np.arange(1), 1, 0)  # loads the compiled kernel, which is not to count
    before = memory_mb()
    reset_peak()
    began = time.perf_counter()
    plan = EpochPlan(open_layout(folder, n_groups, batch_size), shuffle_shards=USUAL_SHUFFLE_SHARDS)
    opened = time.perf_counter()
    plan.rows(0, rows_of_rank(n_ranks - 1, n_ranks, batch_size))
    planned = time.perf_counter()
    return {"open_s": opened - began, "plan_s": planned - opened, "peak_mb": peak_mb() - before}


def probe_apart(folder: Path, n_groups: int, batch_size: int) -> dict[str, float]:
    """Run `probe` in a new process."""
    command = [sys.executable, __file__, "--probe", str(folder), "--groups", str(n_groups), "--batch", str(batch_size)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout)


def groups_of_node(layout: Layout, node: int, n_ranks: int) -> range:
    """Return the groups that hold the rows of a node's ranks."""
    ranks = range(node * RANKS_PER_NODE, min((node + 1) * RANKS_PER_NODE, n_ranks))
    return layout.groups_of(rows_of_ranks(ranks, n_ranks, layout.batch_size))


def download_shares(layout: Layout, n_ranks: int) -> list[float]:
    """Return the share of the set's clips in the shards that each node downloads."""
    pieces, shares = layout.pieces, []
    for node in range(-(-n_ranks // RANKS_PER_NODE)):
        groups = groups_of_node(layout, node, n_ranks)
        shards = np.unique(pieces.shard[pieces.bounds[groups.start] : pieces.bounds[groups.stop]])
        shares.append(float(layout.clips_per_shard[shards].sum() / len(layout.clips)))
    return shares


def second_epoch(layout: Layout, n_ranks: int, cache: float) -> float:
    """Return the share of its shards that node 0 downloads again in the second epoch, with a cache of this size.

    The cache drops the least recently used shards. Its size is relative to the node's even share of the set.
    """
    groups, sizes = groups_of_node(layout, 0, n_ranks), layout.clips_per_shard
    limit = cache * len(layout.clips) * RANKS_PER_NODE / n_ranks
    held: OrderedDict[int, None] = OrderedDict()
    used, downloaded = 0, [0, 0]
    for epoch in range(2):
        plan = EpochPlan(layout, epoch, shuffle_shards=USUAL_SHUFFLE_SHARDS)
        for shard in _visits(plan, groups):
            if shard in held:
                held.move_to_end(shard)
                continue
            held[shard] = None
            used += int(sizes[shard])
            downloaded[epoch] += int(sizes[shard])
            while used > limit and len(held) > 1:
                used -= int(sizes[held.popitem(last=False)[0]])
    return downloaded[1] / downloaded[0]


def _visits(plan: EpochPlan, groups: range) -> Iterable[int]:
    """Yield a node's shards in the order in which it reads them: block by block, the groups at the same time."""
    block = 0
    while shards := [shard for group in groups for shard in plan.shards_of(group, block).tolist()]:
        yield from shards
        block += 1


def mixing(layout: Layout, shuffle_shards: int, n_batches: int = 3) -> dict[str, float]:
    """Return the mean entropy in bits of the shards and of the labels in a global batch."""
    plan = EpochPlan(layout, shuffle_shards=shuffle_shards)
    bounds = np.cumsum(layout.clips_per_shard)
    entropies = []
    # Without the last batch, which has fillers.
    for batch in np.linspace(0, max(len(plan) - 2, 0), n_batches, dtype=int).tolist():
        clips = plan.rows(batch, range(layout.batch_size)).clips
        shards = np.searchsorted(bounds, clips, side="right")
        entropies.append([entropy(shards), entropy(shards * N_LABELS // len(bounds))])
    return dict(zip(("shards", "labels"), np.mean(entropies, 0).tolist(), strict=True))


def entropy(values: np.ndarray) -> float:
    """Compute the entropy of the values' frequencies, in bits.

    >>> entropy(np.array([1, 1, 2, 3]))
    1.5
    """
    share = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(share * np.log2(share)).sum())


def measure(folder: Path, group_numbers: Sequence[int], n_nodes: int, runs: int) -> list[dict[str, Any]]:
    """Return a row for each number of groups."""
    n_ranks, rows = n_nodes * RANKS_PER_NODE, []
    batch_size = n_ranks * ROWS_PER_RANK
    for n_groups in group_numbers:
        probes = [probe_apart(folder, n_groups, batch_size) for _ in range(runs)]
        layout = open_layout(folder, n_groups, batch_size)
        rows.append(
            {
                "groups": n_groups,
                **{name: spread([found[name] for found in probes]) for name in probes[0]},
                "share": max(download_shares(layout, n_ranks)),
                "share_after_loss": max(download_shares(layout, n_ranks - RANKS_PER_NODE)),
                "again": {str(cache): second_epoch(layout, n_ranks, cache) for cache in CACHES},
                "entropy": {str(shards): mixing(layout, shards) for shards in SHUFFLE_SHARDS},
            }
        )
    return rows


def ideal(folder: Path, batch_size: int) -> dict[str, float]:
    """Return the entropies of a batch whose examples are drawn from the whole set."""
    layout = open_layout(folder, 1, batch_size)
    return mixing(layout, len(layout.shards))


def plot(rows: Sequence[dict[str, Any]], best: dict[str, float], path: Path) -> None:
    """Plot how well a batch is mixed, by the number of shards that are shuffled together."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(9, 3.8), layout="constrained")
    for axis, name in zip(figure.subplots(1, 2), ("shards", "labels"), strict=True):
        for row in rows:
            x, y = zip(*((int(shards), found[name]) for shards, found in row["entropy"].items()), strict=True)
            axis.semilogx(x, y, "o-", label=f"{row['groups']:,} groups" if row["groups"] > 1 else "1 group")
        axis.axhline(best[name], color="gray", linestyle=":", label="drawn from the whole set")
        axis.set(xlabel="shuffle_shards", ylabel="bits", title=f"entropy of the {name} in a global batch")
        axis.grid(True, alpha=0.3)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=len(rows) + 1)
    figure.savefig(path, dpi=120)


def main(
    n_clips: Annotated[int, typer.Option("--clips", help="Clips of the set.")] = 100_000_000,
    n_shards: Annotated[int, typer.Option("--shard-count", help="Shards of the set.")] = 1_500_000,
    n_nodes: Annotated[int, typer.Option("--nodes", help=f"Nodes, with {RANKS_PER_NODE} ranks each.")] = 128,
    groups: Annotated[str, typer.Option(help="Numbers of groups of shards, separated by commas.")] = "1,128,1024",
    runs: Annotated[int, typer.Option(help="Number of new processes for each number of groups.")] = 3,
    batch_size: Annotated[int, typer.Option("--batch", hidden=True)] = 0,
    probed: Annotated[Path | None, typer.Option("--probe", hidden=True)] = None,
) -> None:
    """Evaluate the plan of a large training, and write benchmarks/results/fleet-cpu.json and a plot beside it."""
    numbers = [int(number) for number in groups.split(",")]
    if probed is not None:
        print(json.dumps(probe(probed, numbers[0], batch_size)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), n_clips, n_shards)
        rows = measure(Path(folder), numbers, n_nodes, runs)
        best = ideal(Path(folder), n_nodes * RANKS_PER_NODE * ROWS_PER_RANK)
    show("Plan of a fleet", *tables.fleet(rows))
    settings = {"clips": n_clips, "shards": n_shards, "nodes": n_nodes, "ranks": n_nodes * RANKS_PER_NODE}
    path = save("fleet", CPU, {**settings, "rows_per_rank": ROWS_PER_RANK, "ideal_entropy": best}, rows)
    plot(rows, best, RESULTS / "fleet-cpu.png")
    print(f"written to {path}")


if __name__ == "__main__":
    run(main)
