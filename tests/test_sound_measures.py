"""The measures of sound on sounds of which the answer is known."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.lib import sound_measures as measures
from benchmarks.lib import sound_signals as signals
from benchmarks.lib.sound_measures import SAMPLE_RATE

RATES = [0.8, 1.25]


def strokes(rate: float = 1.0, late_s: float = 0.0, decay_s: float = 0.05) -> np.ndarray:
    """Make bursts of noise at uneven times, each `late_s` late: at `rate`, the ideal stretch of those at rate 1."""
    rng = np.random.default_rng(0)
    x = 1e-3 * rng.standard_normal(round(signals.LENGTH / rate))
    for place in signals.CLICKS:
        first = round(place / rate + late_s * SAMPLE_RATE)
        length = min(SAMPLE_RATE // 4, len(x) - first)
        tail = np.exp(-np.arange(length) / (decay_s * SAMPLE_RATE))
        x[first : first + length] += 0.3 * np.random.default_rng(place).standard_normal(length) * tail
    return x


def notes(rate: float = 1.0, ratio: float = 1.0) -> np.ndarray:
    """Make 12 notes of three partials with slow attacks; frequencies times `ratio`, and the times over `rate`."""
    time = np.arange(round(signals.LENGTH / rate)) * rate / SAMPLE_RATE
    x = np.zeros(len(time))
    for number in range(12):
        envelope = np.exp(-0.5 * ((time - 0.25 - 0.5 * number) / 0.2) ** 2)
        for k in (1, 2, 3):
            hz = 220 * 2 ** (number / 12) * k * ratio
            x += 0.1 / k * envelope * np.sin(2 * np.pi * hz * time / rate)
    return x


def moved_clicks(rate: float, late_s: float, amplitude: float = 0.6) -> np.ndarray:
    x = np.zeros(round(signals.LENGTH / rate))
    x[np.rint(signals.CLICKS / rate + late_s * SAMPLE_RATE).astype(int)] = amplitude
    return x


def test_level():
    x = strokes()
    assert measures.level(x, x) == 0
    assert measures.level(x, x / 2) == pytest.approx(-6.02, abs=0.01)
    assert measures.level(x, x * 10 ** (-3 / 20)) == pytest.approx(-3)
    assert measures.level(x, 0 * x) < -100


def test_level_after_a_shift_upward_leaves_out_what_became_inaudible():
    low, high = signals.partials({300.0: 1.0}), signals.partials({8000.0: 1.0})
    assert measures.level(low + high, signals.partials({600.0: 1.0}), ratio=2.0) == pytest.approx(0, abs=0.01)
    assert measures.level(low + high, signals.partials({600.0: 1.0})) == pytest.approx(-3.01, abs=0.01)
    assert measures.level(low + high, low + high, ratio=0.5) == 0


@pytest.mark.parametrize("rate", RATES)
def test_drift(rate: float):
    rng = np.random.default_rng(0)
    before = rng.standard_normal(round(3 * SAMPLE_RATE * rate))
    after = rng.standard_normal(3 * SAMPLE_RATE)
    fade = np.linspace(0, -3, len(after))
    assert measures.drift(before, after) == pytest.approx(0, abs=0.2)
    assert measures.drift(before, after / 2) == pytest.approx(0, abs=0.2)
    assert measures.drift(before, after * 10 ** (fade / 20)) == pytest.approx(-2.5, abs=0.2)  # of half seconds


def test_drift_compares_with_the_same_part_of_the_input():
    x = np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE)
    swell = 10 ** (np.linspace(0, 20, len(x)) / 20)
    assert measures.drift(x * swell, x * swell) == 0
    assert abs(measures.drift(x, x * swell)) > 10


@pytest.mark.parametrize("rate", RATES)
def test_onsets_of_an_ideal_stretch_are_kept(rate: float):
    assert measures.onset_contrast(strokes(), strokes(rate)) == pytest.approx(1, abs=0.08)
    assert measures.onset_correlation(strokes(), strokes(rate), rate) > 0.95


def test_smeared_onsets_have_less_contrast():
    spread = np.hanning(1024) * np.random.default_rng(1).standard_normal(1024)
    smeared = np.convolve(strokes(), spread, "same")
    smeared *= strokes().std() / smeared.std()
    assert measures.onset_contrast(strokes(), smeared) < 0.7


def test_late_onsets_are_not_correlated():
    on_time, late = (measures.onset_correlation(strokes(), strokes(late_s=s), 1.0) for s in (0.0, 0.03))
    assert on_time == pytest.approx(1)
    assert late < 0.3
    assert measures.onset_correlation(strokes(), strokes(1.25), 1.1) < 0.5  # another rate than it has


def test_onsets_of_a_shift_count_what_both_have():
    spectrum, other = np.fft.rfft(strokes()), np.fft.rfft(strokes(late_s=0.1))
    half = len(spectrum) // 2
    spectrum[half:] = 0  # bursts below 5.5 kHz, and later ones above
    other[:half] = 0
    low, high = (np.fft.irfft(part, signals.LENGTH) for part in (spectrum, other))
    assert measures.onset_correlation(low, low + high) < 0.8
    assert measures.onset_correlation(low + high, low, ratio=2.0) > 0.95
    assert measures.onset_correlation(low, low + high, ratio=0.5) > 0.95
    assert abs(measures.onset_contrast(low, low + high) - 1) > 0.1
    assert measures.onset_contrast(low + high, low, ratio=2.0) == pytest.approx(1, abs=0.05)
    assert measures.onset_contrast(low, low + high, ratio=0.5) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("rate", [0.5, *RATES, 2.0])
def test_clicks_at_the_right_place(rate: float):
    places = signals.CLICKS / rate
    assert measures.click_energy(moved_clicks(rate, 0), places) == pytest.approx(100)
    assert measures.click_energy(moved_clicks(rate, 0.004), places) == pytest.approx(100)
    assert measures.click_energy(moved_clicks(rate, -0.004), places) == pytest.approx(100)


@pytest.mark.parametrize("late_s", [-0.006, 0.006])
def test_clicks_6_ms_off(late_s: float):
    assert measures.click_energy(moved_clicks(1.25, late_s), signals.CLICKS / 1.25) == pytest.approx(0, abs=1e-9)
    assert measures.click_energy(moved_clicks(1.25, 0), signals.CLICKS) < 1  # input places


def test_share_of_clicks_energy():
    both = moved_clicks(1.0, 0) + moved_clicks(1.0, 0.1, amplitude=0.3)
    assert measures.click_energy(both, signals.CLICKS) == pytest.approx(80)
    assert measures.click_energy(np.zeros(1000), np.array([10.0])) == 0


def test_a_chord_does_not_hide_clicks():
    x = moved_clicks(1.0, 0) + signals.chord()
    assert np.abs(x).max() < 1
    assert measures.click_energy(x, signals.CLICKS) < 50
    assert measures.click_energy(x, signals.CLICKS, signals.CLICKS_ABOVE_HZ) > 99.9


@pytest.mark.parametrize("name", signals.CLOSE_PARTIALS)
def test_purity_of_pure_partials(name: str):
    chosen = signals.CLOSE_PARTIALS[name]
    pure, half = signals.partials(chosen), signals.partials(chosen, signals.LENGTH // 2)
    assert measures.purity(pure, tuple(chosen)) > 99.9
    assert measures.purity(half, tuple(chosen)) > 99.5
    assert measures.purity(pure, tuple(hz + 6 for hz in chosen)) < 20


def test_purity_is_a_share_of_energy():
    x = signals.partials({440.0: 1.0, 450.0: 0.5})
    assert measures.purity(x, (440.0,)) == pytest.approx(80, abs=0.1)
    wide = signals.partials({440.0: 1.0}) * (1 + 0.5 * np.sin(2 * np.pi * 5 * np.arange(signals.LENGTH) / SAMPLE_RATE))
    assert measures.purity(wide, (440.0,)) == pytest.approx(100 / (1 + 0.125), abs=0.1)


@pytest.mark.parametrize("hz", signals.TONES_HZ)
def test_tone(hz: float):
    for cents in (0.0, 1.0, -0.01, 30.0):
        found, snr, image = measures.tone(signals.partials({hz * 2 ** (cents / 1200): 1.0}), hz)
        assert found == pytest.approx(cents, abs=1e-4)
        assert snr > 100
        assert image < -85


def test_noise_and_images_of_a_tone():
    clean = signals.partials({440.0: 1.0})
    noise = np.random.default_rng(0).standard_normal(len(clean)) * clean.std() / 100
    assert measures.tone(clean + noise, 440.0)[1] == pytest.approx(40, abs=0.2)
    for hz, other_hz in ((3000.0, 100.0), (100.0, 3000.0)):
        imaged = clean + 1e-2 * signals.partials({hz: 1.0}) + 1e-3 * signals.partials({other_hz: 1.0})
        assert measures.tone(imaged, 440.0)[2] == pytest.approx(-40, abs=0.85)


@pytest.mark.parametrize("rate", RATES)
def test_log_mel_distance_of_an_ideal_stretch(rate: float):
    assert measures.log_mel_distance(notes(), notes(rate), rate) < 0.5
    assert measures.log_mel_distance(notes(), notes(rate), 1.0) > 2.5


def test_log_mel_distance_in_db():
    x = np.random.default_rng(0).standard_normal(signals.LENGTH)
    assert measures.log_mel_distance(x, x) == 0
    assert measures.log_mel_distance(x, x / 2) == pytest.approx(6.02, abs=0.05)
    assert measures.log_mel_distance(x, 0 * x) < measures.FLOOR_DB


@pytest.mark.parametrize("ratio", [0.5, 2 ** (-2 / 12), 2 ** (4 / 12), 2.0])
def test_log_mel_distance_of_an_ideal_shift(ratio: float):
    # Not 0: frames of one length resolve as many Hz before and after, so partials look wider after an octave up.
    ideal = measures.log_mel_distance(notes(), notes(ratio=ratio), ratio=ratio)
    assert ideal < 0.4 * measures.log_mel_distance(notes(), notes(), ratio=ratio)


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_the_ideal_of_a_shift_keeps_energy(ratio: float):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(2 * signals.LENGTH)
    # White noise of the same level over the band that the shift leaves
    spectrum = np.fft.rfft(x)
    top = min(ratio, 1.0)
    spectrum[round(top * len(spectrum)) :] = 0
    shifted = np.fft.irfft(spectrum, len(x))
    heard = 1.0 if ratio < 1 else 1 / ratio  # of the input's power
    shifted *= np.sqrt(heard) / shifted.std()
    assert measures.log_mel_distance(x, shifted, ratio=ratio) == pytest.approx(
        measures.log_mel_distance(x, rng.standard_normal(len(x))), rel=0.2
    )


def test_crop_distance():
    x = np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE)
    assert measures.crop_distance(x, x) == 0
    assert measures.crop_distance(x, x / 2) == pytest.approx(6.02, abs=0.05)
    later = np.concatenate([x[:SAMPLE_RATE], 0 * x[SAMPLE_RATE:]])
    assert measures.crop_distance(x, later) == 0  # only the first second counts
    assert measures.crop_distance(x, x[::-1]) > 1


def test_error_db():
    x = strokes()
    assert measures.error_db(x, x) == -300
    assert measures.error_db(1.01 * x, x) == pytest.approx(-40)


@pytest.mark.parametrize("sound", [signals.clicks, signals.chord], ids=lambda sound: sound.__name__)
def test_sounds_are_below_full_scale(sound: Callable[[], np.ndarray]):
    assert len(sound()) == signals.LENGTH
    assert 0.2 < np.abs(sound()).max() < 1


def test_mel_filters_cover_the_band():
    filters = measures.mel_filters(2048)
    assert filters.shape == (measures.N_BANDS, 1025)
    hz = np.fft.rfftfreq(2048, 1 / SAMPLE_RATE)
    centres = (filters * hz).sum(1) / filters.sum(1)
    assert (np.diff(centres) > 0).all()
    assert filters[10:].sum(1) * hz[1] == pytest.approx(1, rel=0.1)  # of equal area
    assert hz[measures.mel_filters(2048, 2.0).argmax(1)][20:] * 2 == pytest.approx(hz[filters.argmax(1)][20:], rel=0.05)
