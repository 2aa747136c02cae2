"""What pages are made of: sounds, pictures, and templates that escape their text."""

import io
import json
from base64 import b64decode

import numpy as np
import pytest
import soundfile
from jinja2 import UndefinedError
from PIL import Image

from gtzan_stream import pages
from gtzan_stream.geometry import Geometry
from gtzan_stream.pages import Scale
from gtzan_stream.pages.page import script_json

GEOMETRY = Geometry.of_stft(sample_rate=8000, n_fft=200, hop_length=100, frames=20)


def content(uri: str, kind: str) -> io.BytesIO:
    """Decode a data URI."""
    head, _, data = uri.partition(",")
    assert head == f"data:{kind};base64"
    return io.BytesIO(b64decode(data))


def sound(uri: str) -> np.ndarray:
    samples, sample_rate = soundfile.read(content(uri, "audio/flac"))
    assert sample_rate == 8000
    return samples


def test_a_sound_is_lossless():
    samples = np.random.default_rng(0).uniform(-1, 1, 4000).astype(np.float32)
    np.testing.assert_allclose(sound(pages.sound_uri(samples, 8000)), samples, atol=1.01 / 32768)


def test_full_scale_is_played_as_loud_as_possible():
    quiet = np.array([0.01, -0.02, np.nan, np.inf], np.float32)
    np.testing.assert_allclose(sound(pages.sound_uri(quiet, 8000, 0.02)), [0.5, -1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(sound(pages.sound_uri(np.float32([3, -1]), 8000, 2)), [1, -0.5], atol=1e-4)


def test_the_lowest_row_of_a_spectrogram_is_at_the_bottom():
    image = np.zeros((3, 4))
    image[0, 1] = 1.0
    picture = Image.open(content(pages.heat_map_uri(image, Scale(0, 1)), "image/png"))
    assert picture.size == (4, 3)
    colours = np.array(picture.convert("RGB"), float).sum(axis=2)
    assert np.argwhere(colours == colours.max()).tolist() == [[2, 1]]
    assert colours.max() > 500 > 20 > colours.min()


def test_colours_rise_with_the_value_and_end_at_the_scale():
    values = np.array([np.nan, -np.inf, -5, 1, 2, 5, 9, np.inf])
    assert Scale(1, 5).colour(values).tolist() == [0, 0, 0, 0, 128, 255, 255, 255]
    assert Scale(1, 5).colour(np.array([Scale(1, 5).middle])).tolist() == [128]
    bar = Image.open(content(pages.scale_uri(), "image/png"))
    assert bar.size == (256, 1)
    assert len(np.unique(np.array(bar.convert("RGB"))[0], axis=0)) > 200


def test_a_scale_covers_all_pictures():
    scale = Scale.of([np.array([[1.0, 2.0]]), np.array([[np.nan, 8.0]])])
    assert scale.low == 1
    assert 7.9 < scale.high <= 8
    assert Scale.of([np.zeros((2, 2))]) == (0, 1)
    assert Scale.of([]) == Scale.of([np.full((2, 2), np.nan), np.full(3, np.inf)]) == (0, 1)


def test_ticks_are_at_their_frequency_and_apart():
    centres = np.linspace(40, 9000, 129)
    ticks = pages.hz_ticks(centres)
    assert len(ticks) > 2
    for tick in ticks:
        hz = float(tick.label.replace("k", "000"))
        assert np.interp(tick.share * 129 - 0.5, np.arange(129), centres) == pytest.approx(hz)
    shares = [tick.share for tick in ticks]
    assert min(np.diff(shares)) > 0.07


def test_a_waveform_fills_its_box():
    path = pages.waveform_path(np.array([1.0, 0.0, -1.0, 0.5]), columns=4)
    assert path == "M0 0L1 100L2 199L3 50L3 51L2 200L1 101L0 1Z"
    assert pages.waveform_path(np.array([4.0, -4.0]), full_scale=8, columns=1) == "M0 50L0 150Z"
    assert "nan" not in pages.waveform_path(np.array([np.nan, 1.0]))


def test_a_crop_is_silent_after_its_clip():
    samples = np.ones(GEOMETRY.read_length, np.float32)
    samples[: GEOMETRY.context] = -1  # before the crop: heard, but not drawn
    drawn = pages.draw_crop(
        samples, np.ones((4, 20)), "words", geometry=GEOMETRY, valid_frames=7, scale=Scale(0, 1), full_scale=2.0
    )
    heard = sound(drawn.sound)
    assert len(heard) == GEOMETRY.read_length
    np.testing.assert_allclose(heard[: GEOMETRY.span(7)], samples[: GEOMETRY.span(7)] / 2, atol=1e-4)
    assert not heard[GEOMETRY.span(7) :].any()
    assert (np.abs(samples) == 1).all()
    assert drawn.words == "words"
    assert drawn.path.startswith("M0 50L")


def test_the_peak_is_that_of_all_crops():
    assert pages.peak(np.array([0.5, -0.7]), np.array([0.1, np.inf])) == 0.7
    assert pages.peak(np.zeros(3)) == 1


def test_text_cannot_end_a_script():
    nasty = {"</script><b>": "a & b <!-- \u2028"}
    written = str(script_json(nasty))
    assert not set("<>&") & set(written)
    assert json.loads(written) == nasty


def test_a_template_without_a_value_is_an_error():
    with pytest.raises(UndefinedError, match="'facts' is undefined"):
        pages.render("preview.html")
