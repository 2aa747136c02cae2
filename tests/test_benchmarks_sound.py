"""The benchmark of sound on a second of music, and its tables."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import render, sound
from benchmarks.lib import sound_methods, sound_plot, sound_signals, sound_table, verdicts
from benchmarks.lib.contest import OURS
from benchmarks.lib.sound_measures import SAMPLE_RATE
from gtzan_stream.errors import UserError
from tests.conftest import need

NOTHING = sound_methods.Method(name="nothing", stretch=lambda x, rate: x, shift=lambda x, n_steps: x)
"""A method that changes nothing, which is right at rate 1 only."""


@pytest.fixture(scope="module")
def clips(shards: Path) -> dict[str, np.ndarray]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GTZAN_ROOT", raising=False)
        return sound.load(shards, 2)[1]


def test_clips_are_those_of_the_shards_without_gtzan(clips: dict[str, np.ndarray]):
    assert list(clips) == ["0", "1"]
    assert {len(clip) for clip in clips.values()} == {sound_signals.LENGTH}
    assert all(0.001 < clip.std() < 1 for clip in clips.values())


def test_clips_of_gtzan(gtzan_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("GTZAN_ROOT", str(gtzan_root))
    name, found = sound.load(tmp_path, 12)
    assert name == "GTZAN"
    assert list(found)[9:] == ["rock.00001", "blues.00005", "classical.00005"]  # ten genres, then the second clips
    assert {len(clip) for clip in found.values()} == {sound_signals.LENGTH}
    monkeypatch.setenv("GTZAN_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r"has no clip <genre>/<genre>\.00001\.wav"):
        sound.load(tmp_path, 12)


@pytest.mark.parametrize("method", ["locked", "vocoder"])
def test_ours_is_measured(method: str, clips: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sound, "RATES", (1.1,))
    monkeypatch.setattr(sound, "FAR_RATES", (0.7,))
    monkeypatch.setattr(sound, "N_STEPS", (2,))
    one = dict(list(clips.items())[:1])
    rows = list(sound.measure(sound_methods.ours(OURS, method), one, one))
    assert [(row["operation"], row["value"]) for row in rows] == [
        ("time stretch", 1.1),
        ("time stretch", 0.7),
        ("pitch shift", 2),
    ]
    for row, table in zip(rows, (sound_table.STRETCHED, sound_table.STRETCHED_FAR, sound_table.SHIFTED), strict=True):
        assert set(row["figures"]) == {measure.name for measure in table}
        assert np.isfinite(list(row["figures"].values())).all()
    near = rows[0]["figures"]
    assert near["cents"] < 0.01
    assert near["float64"] < -50
    assert abs(rows[2]["figures"]["cents"]) < 0.01
    if method == "locked":
        assert near["level"] > -0.5
        assert near["clicks_chord"] > 99
    else:
        assert near["clicks_alone"] < 60


def test_other_libraries_are_measured(clips: dict[str, np.ndarray]):
    need("audiomentations")
    one = dict(list(clips.items())[:1])
    for method, most in ((sound_methods.librosa(), 8), (sound_methods.audiomentations(), 3)):
        (figures,) = sound.stretched_clips(method, 1.1, one)
        assert figures["log_mel"] < most
        assert abs(sound.steady_sounds(method.stretch, 1.1, 1.0)["cents"]) < 1
        (figures,) = sound.shifted_clips(method, 2, one)
        assert figures["log_mel"] < most


@pytest.mark.slow
def test_rubber_band_is_measured(clips: dict[str, np.ndarray]):
    need("pyrubberband")
    if not sound_methods.shutil.which("rubberband"):
        pytest.skip("the program rubberband is not installed")
    (figures,) = sound.stretched_clips(sound_methods.rubber_band(), 1.1, dict(list(clips.items())[:1]))
    assert figures["correlation"] > 0.9


def test_rubber_band_is_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    need("audiomentations")
    monkeypatch.setattr(sound_methods.shutil, "which", lambda name: None)
    assert "Rubber Band R3" not in [method.name for method in sound_methods.methods()]
    assert capsys.readouterr().out.startswith("Rubber Band is left out: it needs the program rubberband")


def test_changing_nothing_is_ideal_at_rate_1(clips: dict[str, np.ndarray]):
    for figures in (*sound.stretched_clips(NOTHING, 1.0, clips), *sound.shifted_clips(NOTHING, 0, clips)):
        assert figures["level"] == pytest.approx(0, abs=1e-5)
        assert figures["contrast"] == pytest.approx(1)
        assert figures["correlation"] == pytest.approx(1)
        assert figures["log_mel"] < 0.01
    clicks = sound.stretched_clicks(NOTHING, 1.0)
    assert min(clicks.values()) > 99.9
    assert sound.stretched_clicks(NOTHING, 1.1)["clicks_alone"] < 1
    steady = sound.steady_sounds(NOTHING.stretch, 1.0, 1.0)
    assert steady["cents"] < 1e-4
    assert steady["purity"] > 99.5


def test_crops_of_the_whole_are_at_no_distance(clips: dict[str, np.ndarray]):
    (clip, *_) = clips.values()
    exact = replace(NOTHING, crop=lambda x, start, rate, length: x[start : start + length])
    figures = sound.crops(exact, 1.0, clip, clip)
    assert figures == pytest.approx({"crop": 0, "crop_anywhere": 0, "drift": 0}, abs=1e-4)
    late = replace(NOTHING, crop=lambda x, start, rate, length: x[start + 2000 : start + 2000 + length])
    assert sound.crops(late, 1.0, clip, clip)["crop"] > 0.5


def test_the_drift_of_a_crop_is_relative_to_its_own_segment():
    loud_early = np.random.default_rng(0).standard_normal(sound_signals.LENGTH)
    loud_early[: SAMPLE_RATE // 2] *= 10
    half_speed = replace(
        NOTHING, crop=lambda x, start, rate, length: np.repeat(x[start : start + length // 2 + 1], 2)[:length]
    )
    assert abs(sound.crops(half_speed, 0.5, loud_early, np.repeat(loud_early, 2))["drift"]) < 0.05


def test_the_worst_clip_is_reported():
    found = [{"level": level, "float64": error} for level, error in ((-0.1, -90.0), (-0.7, -120.0), (0.2, -100.0))]
    assert sound.over_clips(found) == pytest.approx({"level": -0.2, "level_worst": -0.7, "float64": -90})


def test_costs_are_relative_to_the_vocoder(clips: dict[str, np.ndarray]):
    need("threadpoolctl")
    chosen = [replace(NOTHING, name=name) for name in (OURS, sound_methods.VOCODER)]
    rows = list(sound.costs(chosen, clips, min_s=0.0, rounds=2))
    assert [(row["operation"], row["method"]) for row in rows] == [
        (operation, method.name) for operation in ("time stretch", "pitch shift") for method in chosen
    ]
    assert all(row["times_vocoder"]["median"] == 1 for row in rows if row["method"] == sound_methods.VOCODER)


@pytest.mark.parametrize(("times", "met"), [(1.5, "yes"), (1.6, "**no**")])
def test_the_table_of_costs(times: float, met: str):
    rows = [
        {
            "operation": operation,
            "method": name,
            "ms_per_clip": {"median": 10 * relative},
            "times_vocoder": {"median": relative},
        }
        for operation in ("time stretch", "pitch shift")
        for name, relative in ((OURS, times), (sound_methods.VOCODER, 1.0))
    ]
    columns, cells = sound_table.cost(rows)
    assert columns[1:3] == ["target", "met"]
    assert cells[1][1:3] == ["at most 1.5", met]
    assert cells[0][3:] == [str(10 * times), "10.0"]
    assert cells[3][1:] == ["", "", f"{times:.1f}", "1.0"]


def rows_of(method: str, levels: dict[float, float]) -> list[dict[str, Any]]:
    return [
        {"operation": "time stretch", "method": method, "value": rate, "figures": {"level": level, "contrast": 1.0}}
        for rate, level in levels.items()
    ]


def test_the_table_shows_the_worst_rate_and_whether_targets_are_met():
    rows = rows_of(OURS, {0.8: -0.4, 0.9: -0.2, 1.1: -0.31, 1.25: -0.1}) + rows_of("librosa", {0.9: -3.0, 1.1: 1.0})
    level = sound_table.STRETCHED[0]
    groups = (sound_table.NEAR, sound_table.FAR)
    columns, (cells,) = sound_table.compared(rows, "time stretch", [level], groups)
    assert columns == ["", "target", "met", OURS, "librosa"]
    assert cells[1:] == ["at least -0.30 / at least -0.50", "**no** / yes", "-0.31 / -0.40", "-3.00 / "]
    rows[2]["figures"]["level"] = -0.3
    assert sound_table.compared(rows, "time stretch", [level], groups)[1][0][2] == "yes"


def test_a_target_that_was_not_measured_is_not_met():
    _, (cells,) = sound_table.compared(rows_of(OURS, {0.8: -0.4}), "time stretch", [sound_table.STRETCHED[3]], [(2.0,)])
    assert cells[2:] == ["**no**", ""]


@pytest.mark.parametrize(("best", "expected"), [(0, -3), (1, -3), (-4, 2.5), (float("inf"), -3), (-float("inf"), 2.5)])
def test_the_worst_figure_is_the_farthest_from_the_best(best: float, expected: float):
    assert sound_table.worst([-3, 0.5, 2.5], best) == expected


@pytest.mark.parametrize(
    ("target", "words"),
    [((99, sound_table.ANY), "at least 99.0"), ((-sound_table.ANY, 0.3), "at most 0.3"), ((0.9, 1.0), "0.9 to 1.0")],
)
def test_targets_in_words(target: tuple[float, float], words: str):
    assert sound_table.bound(target, 1) == words
    assert sound_table.meets(target[1] if target[1] < 1e9 else target[0], target)
    assert not sound_table.meets(-1e9 if target[0] > -1e9 else 1e9, target)


def test_every_target_has_a_measure():
    near, far = sound_table.STRETCHED, sound_table.STRETCHED_FAR
    assert sum(bool(measure.targets) for measure in near) == 13
    assert all(len(measure.targets) == 4 for measure in far)


def test_tables_and_plot_of_the_results(tmp_path: Path):
    result = render.load(render.RESULTS)["sound-cpu"]
    for columns, cells in sound_table.every(result["rows"]).values():
        assert cells
        assert {len(line) for line in cells} == {len(columns)}
    sound_plot.plot(result["rows"], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_crops_lie_inside_every_stretched_clip():
    shortest_s = sound_signals.LENGTH / SAMPLE_RATE / max(sound.RATES)
    assert max(sound.CROP_STARTS_S) + sound.CROP_S <= shortest_s


def test_the_readmes_table_has_figures_near_rate_1_and_the_cost():
    result = render.load(render.RESULTS)["sound-cpu"]
    columns, cells = sound_table.brief(result["rows"])
    assert columns[:3] == ["", OURS, f"{OURS}, vocoder"]
    assert f"{OURS}, plain torch" not in columns
    table = {line[0]: dict(zip(columns[1:], line[1:], strict=True)) for line in cells}
    assert len(table) == len(sound_table.BRIEF) + 1
    (level,) = (measure for measure in sound_table.STRETCHED if measure.name == "level")
    worst = sound_table.find(result["rows"], "time stretch", OURS, level, (0.9, 1.1))
    assert float(table[level.words][OURS]) == round(worst, 2)
    assert float(table["time, ms for a clip of 30 s on one core"][OURS]) > 0


def test_verdicts_on_stretches():
    def timed(method: str, ms: float) -> dict[str, Any]:
        return {"operation": "time stretch", "method": method, "ms_per_clip": {"median": ms}}

    rows = [timed(OURS, 10.0), timed(f"{OURS}, vocoder", 1.0), timed("librosa", 45.0)]
    judge = verdicts.stretch_ahead({"librosa": 4})
    assert judge({"rows": rows}) == ("4.5 times librosa", True)
    assert judge({"rows": [*rows[:2], timed("librosa", 39.0)]})[1] is False
    with pytest.raises(verdicts.NotMeasured):
        verdicts.stretch_ahead({"librosa": 4, "audiomentations": 7})({"rows": rows})
    words, met = verdicts.stretch_ahead({"audiomentations": 7})({"rows": [*rows, timed("audiomentations (x)", 80.0)]})
    assert (words, met) == ("8.0 times audiomentations", True)
    heard = {"method": OURS, "accuracy": 0.61, "half_interval": 0.05}
    assert verdicts.unheard({"rows": [heard]}) == ("61% ± 5", False)
    assert verdicts.unheard({"rows": [heard | {"accuracy": 0.6}]})[1] is True
    result = render.load(render.RESULTS)["sound-cpu"]
    words, met = verdicts.sounds_right(result)
    assert words.endswith(" of 26 targets")
    for row in result["rows"]:
        if row["method"] == OURS and row.get("value") == 0.8:
            row["figures"]["purity"] = 84.9
    assert verdicts.sounds_right(result) != (words, met)
    assert verdicts.sounds_right(result)[1] is False
