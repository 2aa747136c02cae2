"""The benchmark of the feature service: its processes, its figures, and how they are judged."""

import copy
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import render, service
from benchmarks.lib import aims, common, consumer, service_costs, service_table
from benchmarks.lib.common import spread
from benchmarks.lib.memory import memory_mb
from benchmarks.lib.processes import Process, cpu_s
from benchmarks.lib.servers import Service, free_port
from benchmarks.lib.service_costs import Spent
from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader

TINY = service.Size(
    crops_per_clip=24, rounds=1, few_rounds=1, trainers=2, soak_batches=40, soak_clients=10, first_clients=2
)
Result = dict[str, Any]


def test_the_cpu_time_and_the_memory_of_a_process_are_found_from_outside():
    before, began = cpu_s(os.getpid()), time.process_time()
    while time.process_time() < began + 0.1:
        pass
    assert 0.1 <= cpu_s(os.getpid()) - before < 0.3
    code = "print(len(b'1' * 10**8), flush=True) or input()"
    with Process("-c", f"x = b'1' * 10**8; {code}", stdin=-1, stdout=-1) as process:
        assert process.process.stdout.readline()
        assert 100 < memory_mb(process.pid) < 300
    assert process.process.poll() is not None


def test_free_ports_are_in_a_row():
    port = free_port(3)
    with socket.socket() as first, socket.socket() as last:
        first.bind(("127.0.0.1", port))
        last.bind(("127.0.0.1", port + 2))


@pytest.mark.slow
def test_a_service_that_does_not_start_is_reported(tmp_path: Path):
    with pytest.raises(UserError, match=f"to see why: gtzan-stream serve {tmp_path} --listen"):
        Service(tmp_path)


def test_a_consumer_takes_an_epoch(shards: Path, capsys: pytest.CaptureFixture[str]):
    with consumer.open_loader(shards=str(shards), batch_size=4, augment="none") as loader:
        assert type(loader) is Loader
        all_of_it = consumer.take(loader, 3, digest=True, notice=1)
        assert json.loads(capsys.readouterr().out) == {"taken": 1}
        assert loader.epoch == 4
        assert len(all_of_it["waits"]) == len(loader)
        assert all_of_it["n_bytes"] == len(loader) * 4 * 128 * 128 * 4
        assert consumer.take(loader, 3, digest=True)["digest"] == all_of_it["digest"]
        assert consumer.take(loader, 4, digest=True)["digest"] != all_of_it["digest"]
        slow = consumer.take(loader, 0, n_batches=3, step_s=0.05)
        assert len(slow["waits"]) == 3
        assert slow["seconds"] > 0.1  # two steps; the last batch has none


def test_a_digest_covers_all_that_a_batch_holds(shards: Path):
    class Recorder:
        def __init__(self) -> None:
            self.parts: list[bytes] = []

        def update(self, part: bytes) -> None:
            self.parts.append(part)

    with Loader(shards, batch_size=4, augment="none") as loader:
        batch = loader.make_at(0, 0)
    recorder = Recorder()
    consumer.add_to_digest(recorder, batch)
    fields = set(vars(batch)) - {"transform", "seed", "n_views", "keys", "epoch", "skipped"}
    assert len(recorder.parts) == len(fields) + 1
    assert repr(batch.keys).encode() in recorder.parts[-1]


class FakeConsumer:
    """A consumer that takes a second for an epoch, and its step after each of 10 batches."""

    pid = os.getpid()

    def begin(self, epoch: int, *, step_s: float) -> None:
        self.step_s = step_s

    def reply(self) -> dict[str, Any]:
        return {"seconds": 1 + 10 * self.step_s, "n_bytes": 10_000_000}


def test_only_the_last_consumer_is_slow():
    spent = service_costs.spend([FakeConsumer(), FakeConsumer()], 0, slow_step_s=0.5)  # type: ignore[list-item]
    assert spent.seconds == [1, 6]
    assert (spent.mb, spent.made, spent.server_cpu_s) == (10, 0, 0)
    row = service_costs._shared_row("servers", "slow", 2, [spent], 10)
    assert row["seconds"]["median"] == 1  # of the quick ones
    assert (row["trainers"], row["slow"]) == (2, 1)


def test_a_cost_is_per_batch_and_per_megabyte(monkeypatch: pytest.MonkeyPatch):
    class Opened:
        def use(self, **arguments: Any) -> int:
            return 10

    def spend(consumers: list[Any], epoch: int, service: Any = None) -> Spent:
        if epoch == 0:  # the warm-up does not count
            return Spent([100.0], 9.0, 100.0 if service else 0.0, 0, 20.0)
        return Spent([3.0], 0.5, 1.0, 10, 20.0) if service else Spent([2.0], 1.0, 0.0, 0, 20.0)

    monkeypatch.setattr(service_costs, "spend", spend)
    fake: Any = Opened()
    fake.addresses = []
    found = service_costs.cost(fake, Opened(), Opened(), Path("shards"), 2)  # type: ignore[arg-type]
    figures = {name: value["max"] for name, value in found.items() if isinstance(value, dict)}
    assert figures == {
        "local_ms": 100,
        "served_ms": 150,
        "client_ms": 50,
        "cpu_ratio": 1.5,
        "extra_ms_per_mb": 25,
        "seconds_ratio": 1.5,
    }


def test_a_part_that_does_not_exist_is_refused():
    assert service.chosen("") == list(service.PARTS)
    assert service.chosen("faults,cost") == ["faults", "cost"]
    with pytest.raises(UserError, match="there is no part 'fault'; there are cost, shared"):
        service.chosen("cost,fault")


# --- the report -------------------------------------------------------------------------------------------------------


@pytest.fixture
def result() -> Result:
    """A result that just meets every aim."""

    def cost(recipe: str, servers: int) -> Result:
        figures = {"cpu_ratio": 1.1, "extra_ms_per_mb": 0.5, "seconds_ratio": 0.8}
        figures |= {"local_ms": 20.0, "served_ms": 22.0, "client_ms": 1.0}
        return {"part": "cost", "recipe": recipe, "servers": servers, "batches": 160, "mb": 168.0} | {
            name: spread([value]) for name, value in figures.items()
        }

    def shared(made_by: str, trainers: int, slow: int, made: float, cpu: float, seconds: float) -> Result:
        row = {"part": "shared", "made_by": made_by, "trainers": trainers, "slow": slow}
        row |= {"cpu_s": spread([cpu]), "seconds": spread([seconds])}
        return row | {"made": spread([made]) if made_by == "servers" else None}

    def fault(name: str, most_s: float) -> Result:
        waits = {"before_s": spread([0.02]), "after_s": spread([most_s / 2, most_s])}
        return {"part": "faults", "fault": name, **waits, "most_s": most_s, "same": True}

    tenth = {"crops_per_s": spread([100.0]), "device_mb": None}
    rows = [cost(recipe, servers) for recipe in ("study", "none") for servers in (1, 2)]
    rows += [shared("servers", 1, 0, 1.0, 4.0, 2.0), shared("servers", 8, 0, 1.05, 4.6, 1.92)]
    rows += [shared("servers", 8, 1, 2.0, 9.0, 2.0), shared("local loaders", 1, 0, 0.0, 4.0, 2.0)]
    rows += [fault("one of two servers is killed", 0.5), fault("all servers are killed", 1.0)]
    rows += [{"part": "memory", "tenth": i, "host_mb": spread([500.0 + i]), **tenth} for i in range(1, 11)]
    rows += [{"part": "start", "seconds": spread([3.0])}]
    settings = {"batch_size": 16, "soak_batches": 10_000, "memory_growth": 0.02}
    return {"settings": settings, "rows": rows, "machine": common.machine(service.CPU)}


def verdicts(result: Result) -> dict[str, tuple[str, bool]]:
    return {aim.measure: aim.verdict(result) for aim in aims.AIMS if aim.needs == "service-cpu"}


def test_each_table_has_as_many_cells_as_columns(result: Result):
    assert service_table.TABLES.keys() == service.PARTS.keys()
    for _, table in service_table.TABLES.values():
        columns, cells = table(result["rows"])
        assert cells
        assert {len(line) for line in cells} == {len(columns)}


def test_the_section_is_in_the_report_and_in_the_page(result: Result):
    text = service_table.section(result)
    assert "Batches of 16 (1.05 MB), 160 an epoch." in text
    assert "| `none` | 2 | 20.0 | 22.0 | 1.00 | 1.10 (1.10 to 1.10) | 0.50 (0.50 to 0.50) | 0.80" in text
    assert "| 8, one of them 10 times slower | servers | 9.0 | 2.25 | 2.0 | 2.00 (2.00 to 2.00) |" in text
    assert "| one of two servers is killed | 0.38 (0.25 to 0.50) | 0.02 | 0.5 | yes |" in text
    assert "501 MB in the first tenth of 10,000 batches and 510 MB in the last (+2.0%)" in text
    results = {"service-cpu": result}
    assert text in render.report(results)
    assert text in render.figures(results)["service"]
    assert "docs/service.md" in render.DOCUMENTS


def test_a_result_that_meets_the_aims_is_judged_so(result: Result):
    found = verdicts(result)
    assert len(found) == 8
    assert all(met for _, met in found.values()), found
    assert (
        found["service: two servers on two cores"][0] == "`study` 0.80 (0.80 to 0.80), `none` 0.80 (0.80 to 0.80) times"
    )
    assert found["service: trainers that share a stream"][0] == "1.05 times at most, CPU time 1.15 times"
    assert found["service: a trainer that is ten times slower"][0] == "2.00 times, the others lose 4.0%"
    assert found["service: longest wait after a fault"][0] == "0.50, 1.00 s, the same batches: yes"


def rows(result: Result, part: str, **values: Any) -> list[Result]:
    chosen = [row for row in result["rows"] if row["part"] == part and values.items() <= row.items()]
    assert chosen
    return chosen


@pytest.mark.parametrize(
    ("measure", "spoil"),
    [
        ("CPU time, `study`", lambda r: rows(r, "cost", recipe="study", servers=1)[0].update(cpu_ratio=spread([1.11]))),
        (
            "CPU time, `none`",
            lambda r: rows(r, "cost", recipe="none", servers=1)[0].update(extra_ms_per_mb=spread([0.51])),
        ),
        (
            "two servers on two cores",
            lambda r: rows(r, "cost", recipe="none", servers=2)[0].update(seconds_ratio=spread([0.81])),
        ),
        (
            "trainers that share a stream",
            lambda r: rows(r, "shared", trainers=8, slow=0)[0].update(made=spread([1.0, 1.06])),
        ),
        (
            "trainers that share a stream",
            lambda r: rows(r, "shared", trainers=8, slow=0)[0].update(cpu_s=spread([4.7])),
        ),
        ("a trainer that is ten times slower", lambda r: rows(r, "shared", slow=1)[0].update(made=spread([2.01]))),
        ("a trainer that is ten times slower", lambda r: rows(r, "shared", slow=1)[0].update(seconds=spread([2.1]))),
        ("longest wait after a fault", lambda r: rows(r, "faults")[1].update(after_s=spread([0.1, 1.01]))),
        ("longest wait after a fault", lambda r: rows(r, "faults")[0].update(same=False)),
        ("memory of a server", lambda r: r["settings"].update(memory_growth=0.021)),
        ("memory of a server", lambda r: r["settings"].update(soak_batches=9_999)),
        ("start to first batch", lambda r: rows(r, "start")[0].update(seconds=spread([3.1]))),
    ],
)
def test_a_result_that_misses_an_aim_is_judged_so(result: Result, measure: str, spoil: Callable[[Result], None]):
    spoiled = copy.deepcopy(result)
    spoil(spoiled)
    missed = [name for name, (_, met) in verdicts(spoiled).items() if not met]
    assert missed == [f"service: {measure}"]


# --- the program ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_whole_benchmark_in_small(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(service, "Size", lambda: TINY)
    service.main(shards=shards, only="", quick=False)
    result = render.load(tmp_path)["service-cpu"]
    assert "20% of it" in service_table.section(result)
    assert len(verdicts(result)) == 8
    assert [row["servers"] for row in rows(result, "cost")] == [1, 1, 2, 2]
    served = rows(result, "shared", made_by="servers")
    assert [(row["trainers"], row["slow"]) for row in served] == [(1, 0), (2, 0), (2, 1)]
    assert served[0]["made"]["max"] == 1
    assert all(row["same"] for row in rows(result, "faults"))
    assert [row["tenth"] for row in rows(result, "memory")] == list(range(1, 11))
