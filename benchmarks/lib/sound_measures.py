"""Measure how well a sound was stretched in time or shifted in pitch: pure functions of float64 arrays [time].

All measures compare the output with its input, of which the ideal output is known. A stretch at `rate` moves what the
input has at sample t to output sample ``t / rate`` and changes nothing else; a shift by n semitones multiplies every
frequency by ``ratio = 2 ** (n / 12)`` and moves nothing. Measures over time therefore read the input at
``t = output sample * rate``: its spectra are computed there, at the nearest sample, and never interpolated.

Measures of steady sounds (tones, partials) leave out `EDGE_S` at each end, where a stretch fades. The others use
everything that input and output both have.
"""

import functools

import numpy as np
from scipy.fft import next_fast_len

SAMPLE_RATE = 22050
EDGE_S = 0.5
"""Seconds left out at each end of a steady sound."""
N_FFT, HOP = 512, 128
"""Frames of the onset curve and of the log-mel distance to the ideal."""
FLOOR_DB = 60.0
"""The log-mel measures clip both spectra this far below the loudest band of the ideal."""
N_BANDS = 64
CLICK_S = 0.005
"""A click's energy counts within this time of its place."""
PARTIAL_HZ = 2.0
"""A partial's energy counts within this distance of its frequency."""


def level(before: np.ndarray, after: np.ndarray, ratio: float = 1.0) -> float:
    """Return the change of the standard deviation in dB: -6.02 if the amplitude is halved.

    A pitch shift by `ratio` > 1 moves what is above ``1 / ratio`` of the input's band out of hearing: left out.
    """
    if ratio > 1:
        spectrum = np.fft.rfft(before)
        spectrum[int(len(spectrum) / ratio) :] = 0
        before = np.fft.irfft(spectrum, len(before))
    return float(20 * np.log10(max(np.std(after), 1e-12) / np.std(before)))


def drift(before: np.ndarray, after: np.ndarray, part_s: float = 0.5) -> float:
    """Return the level of the last `part_s` seconds of a crop minus that of the first, in dB.

    `before` is the input of the crop `after`, so it has ``rate * len(after)`` samples. The level of each part is
    relative to the part of the input that belongs to it. It depends on where the sound is loud: average it over crops.
    """
    n = round(part_s * SAMPLE_RATE)
    m = round(n * len(before) / len(after))
    return level(before[-m:], after[-n:]) - level(before[:m], after[:n])


def spectra(waveform: np.ndarray, centres: np.ndarray, n_fft: int = N_FFT, padded: int = 0) -> np.ndarray:
    """Return the magnitudes of frames centred on the samples nearest to `centres`, with a Hann window: [freq, frame].

    Samples beyond the ends are zero. With `padded`, frames are filled up with zeros to so many samples.
    """
    half = n_fft // 2
    at = np.clip(np.rint(centres).astype(np.int64), -half, len(waveform) + half) + n_fft - half
    samples = np.pad(np.asarray(waveform, np.float64), n_fft)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    return np.abs(np.fft.rfft(samples[at[:, None] + np.arange(n_fft)] * window, max(padded, n_fft))).T


def onset_curve(waveform: np.ndarray, middles: np.ndarray, top: float = 1.0) -> np.ndarray:
    """Return how much the spectrum rises around each sample of `middles`.

    The sum over bins of ``max(0, difference of log(1 + 100 |X|))``, from the frame `HOP` / 2 before to the one after,
    over the share `top` of the bins, from the lowest.
    """
    bins = round(top * N_FFT / 2) + 1
    earlier, later = (np.log1p(100 * spectra(waveform, middles + shift)[:bins]) for shift in (-HOP // 2, HOP // 2))
    return np.maximum(later - earlier, 0).sum(0)


def _middles(n_samples: int) -> np.ndarray:
    return np.arange(n_samples // HOP) * HOP + HOP / 2


def _tops(ratio: float) -> tuple[float, float]:
    """Return which share of the input's band and of the output's hold the same sound after a shift by `ratio`."""
    return min(1 / ratio, 1.0), min(ratio, 1.0)


def onset_contrast(before: np.ndarray, after: np.ndarray, ratio: float = 1.0) -> float:
    """Return the onset curve's standard deviation over its mean, output over input: 1 if onsets are as sharp.

    After a pitch shift by `ratio`, both curves count only the frequencies that input and output both have.
    """
    curves = (onset_curve(x, _middles(len(x)), top) for x, top in zip((before, after), _tops(ratio), strict=True))
    contrast_before, contrast_after = (curve.std() / max(curve.mean(), 1e-12) for curve in curves)
    return float(contrast_after / contrast_before)


def onset_correlation(before: np.ndarray, after: np.ndarray, rate: float = 1.0, ratio: float = 1.0) -> float:
    """Return the correlation of the output's onset curve with the input's, read at the stretched times.

    Both are smoothed with (1/4, 1/2, 1/4): frames of 6 ms are finer than the times of onsets in any stretch. Of a pitch
    shift by `ratio`, as in `onset_contrast`.
    """
    middles = _middles(min(len(after), round(len(before) / rate)))
    smooth = np.array([1, 2, 1]) / 4
    top_before, top_after = _tops(ratio)
    curves = [onset_curve(before, middles * rate, top_before), onset_curve(after, middles, top_after)]
    return float(np.corrcoef([np.convolve(curve, smooth, "same") for curve in curves])[0, 1])


def click_energy(after: np.ndarray, places: np.ndarray, above_hz: float = 0.0) -> float:
    """Return the share of energy above `above_hz` that is within `CLICK_S` of `places` (output samples), in percent.

    `places` may be fractional: input place / rate. All samples of the output count, its ends too. Of silence, 0. The
    filter rises from 0.8 to 1.2 times `above_hz`: a steeper one would ring for longer than `CLICK_S`.
    """
    hz = np.fft.rfftfreq(len(after), 1 / SAMPLE_RATE)
    gain = np.sin(np.pi / 2 * np.clip((hz - 0.8 * above_hz) / max(0.4 * above_hz, 1e-9), 0, 1)) if above_hz else 1.0
    energy = np.fft.irfft(np.fft.rfft(after) * gain, len(after)) ** 2
    sample = np.arange(len(after))
    near = np.zeros(len(after), bool)
    for place in places:
        near |= np.abs(sample - place) <= CLICK_S * SAMPLE_RATE
    return float(100 * energy[near].sum() / max(energy.sum(), 1e-24))


def steady(waveform: np.ndarray) -> np.ndarray:
    """Leave out at least `EDGE_S` at each end, and more at the second, down to a length with a fast FFT."""
    edge = round(EDGE_S * SAMPLE_RATE)
    length = len(waveform) - 2 * edge
    while next_fast_len(length, real=True) != length:
        length -= 1
    return np.asarray(waveform[edge : edge + length], np.float64)


def purity(after: np.ndarray, partials_hz: tuple[float, ...]) -> float:
    """Return the share of energy within `PARTIAL_HZ` of the partials, in percent.

    It is read from the spectrum of the whole steady sound, with a Hann window and zeros up to four times its length.
    """
    inner = steady(after)
    power = np.abs(np.fft.rfft(inner * np.hanning(len(inner)), 4 * len(inner))) ** 2
    hz = np.fft.rfftfreq(4 * len(inner), 1 / SAMPLE_RATE)
    near = np.any([np.abs(hz - partial) <= PARTIAL_HZ for partial in partials_hz], axis=0)
    return float(100 * power[near].sum() / max(power.sum(), 1e-24))


def tone(after: np.ndarray, hz: float) -> tuple[float, float, float]:
    """Return how far a tone is from `hz` in cents, its SNR in dB, and the level of its loudest image in dB.

    The frequency is that of the loudest line of the spectrum within half a semitone, refined by the phase's advance
    from the first to the second half of the steady sound. Signal is the sine of this frequency that fits best, noise
    the rest. An image is a line more than 20 Hz from the tone, relative to the tone. Lines have a Blackman-Harris
    window: its side lobes are at -92 dB, and a line between two bins reads up to 0.8 dB too low.
    """
    inner = steady(after)
    half, samples = len(inner) // 2, np.arange(len(inner))
    waves = np.cos(2 * np.pi * np.outer(np.arange(4), samples / len(inner)))
    lines = np.abs(np.fft.rfft(inner * (np.array([0.35875, -0.48829, 0.14128, -0.01168]) @ waves)))
    line_hz = np.fft.rfftfreq(len(inner), 1 / SAMPLE_RATE)
    nearest = int(np.argmax(np.where(np.abs(np.log2(np.maximum(line_hz, 1e-9) / hz)) <= 1 / 24, lines, -1)))
    slow = inner * np.exp(-2j * np.pi * line_hz[nearest] / SAMPLE_RATE * samples)
    window = np.hanning(half)
    turned = np.angle(np.sum(slow[half : 2 * half] * window) * np.sum(slow[:half] * window).conj())
    found = line_hz[nearest] + turned / (2 * np.pi) * SAMPLE_RATE / half
    angle = 2 * np.pi * found / SAMPLE_RATE * samples
    sine = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    fitted = sine @ np.linalg.lstsq(sine, inner, rcond=None)[0]
    snr = 10 * np.log10(max(np.sum(fitted**2), 1e-24) / max(np.sum((inner - fitted) ** 2), 1e-24))
    far = np.abs(line_hz - found) > 20
    image = 20 * np.log10(max(lines[far].max(), 1e-12) / max(lines[nearest], 1e-12))
    return float(1200 * np.log2(found / hz)), float(snr), float(image)


@functools.cache
def mel_filters(n_fft: int, ratio: float = 1.0) -> np.ndarray:
    """Return `N_BANDS` triangles, evenly spaced on the scale ``2595 log10(1 + f / 700)``, of equal area: [band, freq].

    With `ratio`, the filters read the spectrum of a sound as if all its frequencies were multiplied by `ratio`.
    """
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, N_BANDS + 2) / 2595) - 1)
    hz = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE) * ratio
    low, middle, high = (edges[i : i + N_BANDS, None] for i in range(3))
    triangles = np.minimum((hz - low) / (middle - low), (high - hz) / (high - middle))
    return np.maximum(triangles, 0) * 2 / (high - low)


def _distance(ideal: np.ndarray, found: np.ndarray) -> float:
    floor = ideal.max() * 10 ** (-FLOOR_DB / 10)
    return float(np.abs(10 * np.log10(np.maximum(ideal, floor)) - 10 * np.log10(np.maximum(found, floor))).mean())


def log_mel_distance(before: np.ndarray, after: np.ndarray, rate: float = 1.0, ratio: float = 1.0) -> float:
    """Return the mean absolute difference in dB of the output's log-mel from the ideal.

    The ideal is the input's own log-mel (frames of `N_FFT`, `N_BANDS` bands, powers, in dB), read at the stretched
    times. Of a pitch shift, it is the input's spectrum read at ``f / ratio``, so that bands keep the energy of what
    falls into them; bands that only hold frequencies that the input does not have are left out.
    """
    padded = 4 * N_FFT  # narrow bands need a fine spectrum
    centres = np.arange(1 + len(after) // HOP) * HOP
    centres = centres[centres * rate <= len(before)]
    ideal = mel_filters(padded, ratio) @ spectra(before, centres * rate, N_FFT, padded) ** 2
    found = mel_filters(padded) @ spectra(after, centres, N_FFT, padded) ** 2
    if ratio < 1:
        below_hz = np.fft.rfftfreq(padded, 1 / SAMPLE_RATE) < ratio * SAMPLE_RATE / 2
        kept = (mel_filters(padded) * ~below_hz).sum(1) == 0
        ideal, found = ideal[kept], found[kept]
    return _distance(ideal, found)


def crop_distance(whole: np.ndarray, crop: np.ndarray) -> float:
    """Return the mean absolute difference in dB of a crop's log-mel from that of the same output of the whole clip.

    Over the first second, in frames of 1,024 every 512 samples, whole ones only. Both arrays begin at the crop.
    """
    centres = np.arange(512, SAMPLE_RATE - 511, 512)
    filters = mel_filters(4096)
    return _distance(*(filters @ spectra(x, centres, 1024, 4096) ** 2 for x in (whole, crop)))


def error_db(result: np.ndarray, reference: np.ndarray) -> float:
    """Return the RMS of the difference relative to that of the reference, in dB; at least -300."""
    difference = np.linalg.norm(np.asarray(result, np.float64) - reference)
    return float(20 * np.log10(max(difference, 1e-15 * np.linalg.norm(reference)) / np.linalg.norm(reference)))
