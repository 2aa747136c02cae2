"""Decoding and encoding: lossless formats keep their samples, other formats are rounded correctly."""

import io

import numpy as np
import pytest
import soundfile
import soxr

from gtzan_stream import audio
from gtzan_stream.audio import libsndfile


def noise(frames: int, channels: int = 1, seed: int = 0, level: float = 0.2) -> np.ndarray:
    shape = (frames, channels) if channels > 1 else frames
    return (level * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def file_of(samples: np.ndarray, rate: int = 22050, format: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def test_mono_is_the_mean_of_the_channels():
    stereo = noise(200_000, channels=2)
    waveform, rate = audio.decode(file_of(stereo, 22050, subtype="FLOAT"))
    assert rate == 22050
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform, stereo.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_resampling_by_blocks_equals_resampling_the_whole(rate: int):
    samples = noise(3 * libsndfile.BLOCK + 1234)
    waveform, _ = audio.decode(file_of(samples, rate, subtype="FLOAT"), sample_rate=22050)
    whole = soxr.resample(samples, rate, 22050)
    assert abs(len(waveform) - len(whole)) <= 1
    n = min(len(waveform), len(whole))
    np.testing.assert_allclose(waveform[:n], whole[:n], atol=1e-5)


@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("AU", "PCM_16"), ("AIFF", "PCM_16")]
)
def test_16_bit_mono_keeps_its_samples(format: str, subtype: str):
    samples = np.random.default_rng(1).integers(-32768, 32768, 100_000).astype(np.int16)
    pcm = audio.decode_pcm16(file_of(samples, format=format, subtype=subtype), 22050)
    assert pcm.n_clipped == 0
    np.testing.assert_array_equal(pcm.samples, samples)


@pytest.mark.parametrize("codec", audio.CODECS)
def test_encode_is_lossless_and_repeatable(codec: str):
    samples = np.random.default_rng(2).integers(-32768, 32768, 50_000).astype(np.int16)
    data = audio.encode(samples, 22050, codec)
    assert data == audio.encode(samples, 22050, codec)
    np.testing.assert_array_equal(audio.decode_pcm16(data, 22050).samples, samples)
    info = audio.info(data)
    assert (info.frames, info.sample_rate, info.channels) == (50_000, 22050, 1)


def test_quantising_rounds_to_the_nearest_and_clamps():
    half_way = np.array([0.4, 0.6, -0.4, -0.6, 40000, -40000], np.float64) / 32768
    assert audio.quantise(half_way).tolist() == [0, 1, 0, -1, 32767, -32768]
    floats = np.array([0.5, 1.0, -1.0, 1.5, -2.0], np.float32)
    pcm = audio.decode_pcm16(file_of(floats, subtype="FLOAT"), 22050)
    assert pcm.samples.tolist() == [16384, 32767, -32768, 32767, -32768]
    assert pcm.n_clipped == 2


@pytest.mark.parametrize("rate", [None, 44100, 22050])
@pytest.mark.parametrize("channels", [1, 2])
def test_16_bit_samples_are_the_rounded_floats(rate: int | None, channels: int):
    data = file_of(noise(40_000, channels), 44100, subtype="PCM_24")
    pcm, (waveform, found) = audio.decode_pcm16(data, rate), audio.decode(data, rate)
    assert pcm.sample_rate == found == (rate or 44100)
    np.testing.assert_array_equal(pcm.samples, audio.quantise(waveform))


def test_encode_refuses_unknown_codecs_and_other_types():
    with pytest.raises(ValueError, match="unknown codec 'mp3': choose one of wav, flac"):
        audio.encode(np.zeros(4, np.int16), 22050, "mp3")
    with pytest.raises(TypeError, match="expected int16 samples, got float32"):
        audio.encode(np.zeros(4, np.float32), 22050)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"no audio at all" * 100])
def test_data_that_is_not_audio_is_a_value_error(data: bytes):
    with pytest.raises(ValueError, match="neither soundfile nor FFmpeg can decode it: "):
        audio.decode(data)


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (np.nan, "is not a finite number"),
        (np.inf, "is not a finite number"),
        (-1e30, r"is -1e\+30, where full scale is 1"),
        (3e38, "(is not a finite number|is 3e.38, where full scale is 1)"),  # the sum of two channels is infinite
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_an_impossible_sample_is_named(bad: float, what: str, channels: int):
    samples = noise(100_000, channels)
    samples[70_001] = bad
    with pytest.raises(ValueError, match=f"sample 70001 {what}"):
        audio.decode(file_of(samples, subtype="FLOAT"))


def test_a_file_without_samples_decodes_to_nothing():
    waveform, _ = audio.decode(file_of(np.zeros(0, np.int16), 44100), sample_rate=22050)
    assert len(waveform) == 0


@pytest.mark.parametrize("format", ["OGG", "MP3"])
def test_lossy_clips_decode_the_same_in_blocks_and_at_once(format: str, monkeypatch: pytest.MonkeyPatch):
    data = file_of(noise(120_000), format=format)
    whole, _ = audio.decode(data)
    monkeypatch.setattr(libsndfile, "BLOCK", 10_000)
    np.testing.assert_allclose(audio.decode(data)[0], whole, atol=1e-6)


SEEKABLE = [("WAV", "PCM_24"), ("WAV", "FLOAT"), ("FLAC", "PCM_16")]


@pytest.mark.parametrize(("format", "subtype"), SEEKABLE)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_segment_equals_that_part_of_the_clip(format: str, subtype: str, channels: int):
    data = file_of(noise(120_000, channels), 22050, format, subtype)
    whole, _ = audio.decode(data)
    for start in (0, 1, 5000, 44_444, len(whole) - 3000):
        segment = np.empty(3000, np.float32)
        audio.read_segment(io.BytesIO(data), start, segment)
        np.testing.assert_allclose(segment, whole[start : start + 3000], atol=2e-6)


@pytest.mark.parametrize("format", ["WAV", "FLAC"])
@pytest.mark.parametrize("start", [50, 500])
def test_a_segment_past_the_end_is_an_error(format: str, start: int):
    with pytest.raises(ValueError, match=f"it ends at sample 100, {start + 100} were expected"):
        audio.read_segment(io.BytesIO(file_of(noise(100), format=format)), start, np.empty(100, np.float32))


def test_a_segment_of_a_file_without_a_stated_length_is_an_error():
    """The position of a sample is unknown, so an error is better than wrong samples."""
    data = bytearray(file_of(noise(5000), format="FLAC"))
    data[21] &= 0xF0  # clear the 36 bits of STREAMINFO that hold the number of samples
    data[22:26] = bytes(4)
    with pytest.raises(ValueError, match=r"it ends at sample \d+, 1100 were expected"):
        audio.read_segment(io.BytesIO(data), 1000, np.empty(100, np.float32))


@pytest.mark.parametrize("format", ["OGG", "MP3"])
def test_segments_of_lossy_files_are_refused(format: str):
    with pytest.raises(ValueError, match="cannot be read in part"):
        audio.read_segment(io.BytesIO(file_of(noise(5000), format=format)), 0, np.empty(100, np.float32))
