"""What a stretch and a pitch shift keep of a sound: the targets of the sound benchmark, on synthetic sounds and clips.

The measures and the targets are those of benchmarks/lib/sound_measures.py and sound_table.py.
"""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import sound
from benchmarks.lib.sound_methods import Method, ours
from benchmarks.lib.sound_signals import LENGTH
from benchmarks.lib.sound_table import FAR, NEAR, SHIFTED, STRETCHED, STRETCHED_FAR, VERY_FAR, Measure, meets
from tests.conftest import TEST_ALL
from tests.test_vocoder import music

NUMBA, TORCH = ours("numba", "locked"), ours("torch", "locked", "torch")
both = pytest.mark.parametrize("method", [NUMBA, TORCH], ids=["numba", "torch"])
STEADY = "clicks_alone", "clicks_chord", "cents", "snr", "purity", "image"


def missed(figures: sound.Found, measures: list[Measure], group: int) -> dict[str, float]:
    """Return the figures that miss their target in a group of rates; figures without a target are left out."""
    targets = {measure.name: measure.targets[group] for measure in measures if len(measure.targets) > group}
    assert figures.keys() & targets.keys()
    return {name: figure for name, figure in figures.items() if name in targets and not meets(figure, targets[name])}


@both
@pytest.mark.parametrize("rate", [*NEAR, *FAR])
def test_clicks_tones_and_close_partials(method, rate):
    figures = sound.stretched_clicks(method, rate) | sound.steady_sounds(method.stretch, rate, 1.0)
    assert set(figures) == set(STEADY)
    assert not missed(figures, STRETCHED, int(rate in FAR))


@pytest.mark.parametrize("rate", VERY_FAR)
def test_clicks_at_rates_far_from_1(rate):
    assert not missed(sound.stretched_clicks(NUMBA, rate), STRETCHED_FAR, VERY_FAR.index(rate))


@pytest.mark.parametrize("n_steps", [-4, -2, 2, 4])
def test_tones_and_close_partials_after_a_pitch_shift(n_steps):
    figures = sound.steady_sounds(NUMBA.shift, n_steps, 2 ** (n_steps / 12))
    assert not missed(figures, SHIFTED, int(abs(n_steps) == 4))


@pytest.mark.parametrize("n_steps", [-12, 12])
def test_tones_an_octave_away(n_steps):
    assert not missed(sound.steady_sounds(NUMBA.shift, n_steps, 2 ** (n_steps / 12)), SHIFTED, 2)


@pytest.mark.parametrize("rate", [*NEAR, *FAR])
def test_a_crop_is_as_loud_as_that_piece_of_the_stretched_clip_and_converges_to_it(rate):
    """Synthetic music; where its frames are those of the whole clip, the crop's samples become the same, too."""
    clip = music(6.0, 1).astype(np.float32)
    assert len(clip) == LENGTH
    whole = NUMBA.stretch(clip, rate)
    figures = sound.crops(NUMBA, rate, clip.astype(float), whole)
    assert not missed(figures, STRETCHED, int(rate in FAR))
    assert figures["crop_anywhere"] < 1.0
    first, length = 40 * NUMBA.hop, 60_000
    for at, converges in ((first, True), (first + 100, False)):
        crop, piece = NUMBA.crop(clip, round(at * rate), rate, length), whole[at : at + length]
        assert abs(sound.measures.level(piece[:22050], crop[:22050])) < 0.1
        late = sound.measures.error_db(crop[44_100:], piece[44_100:])
        assert (late < -25) == converges, late


@pytest.mark.parametrize(
    ("method", "rate"),
    [
        (NUMBA, 0.9),
        (NUMBA, 1.25),
        *(pytest.param(NUMBA, rate, marks=pytest.mark.slow) for rate in (1.1, 0.8)),
        *(pytest.param(TORCH, rate, marks=pytest.mark.slow) for rate in (*NEAR, *FAR)),
    ],
    ids=lambda value: value.name if isinstance(value, Method) else str(value),
)
def test_every_target_is_met_on_real_clips(gtzan_root: Path, monkeypatch: pytest.MonkeyPatch, method, rate):
    monkeypatch.setenv("GTZAN_ROOT", str(gtzan_root))
    _, clips = sound.load(Path(), 20 if TEST_ALL else 10)
    assert len({name.partition(".")[0] for name in clips}) == 10
    figures = sound.over_clips(list(sound.stretched_clips(method, rate, clips)))
    assert not missed(figures, STRETCHED, int(rate in FAR))
    assert {"level", "level_worst", "drift", "contrast", "correlation", "log_mel", "crop", "float64"} <= set(figures)


@pytest.mark.parametrize("rate", VERY_FAR)
def test_the_level_at_rates_far_from_1(gtzan_root: Path, monkeypatch: pytest.MonkeyPatch, rate):
    monkeypatch.setenv("GTZAN_ROOT", str(gtzan_root))
    _, clips = sound.load(Path(), 20)
    levels = [sound.measures.level(clip, NUMBA.stretch(clip.astype(np.float32), rate)) for clip in clips.values()]
    assert not missed({"level": float(np.mean(levels))}, STRETCHED_FAR, VERY_FAR.index(rate))
