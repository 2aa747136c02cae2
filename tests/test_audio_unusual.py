"""Unusual files that are whole are not reported as damaged, and unusual files that are cut are."""

import io
from pathlib import Path

import numpy as np
import pytest
import soxr

from gtzan_stream import audio
from gtzan_stream.audio import mp3 as mp3_module
from tests.audio_files import RATE, N, encoded, first_frame_length, mp3, tone, wav, without_tag
from tests.test_audio_lengths import SAMPLES, decoded


def n_samples_or_error(data: bytes) -> int | str:
    """Return the number of samples that decode, or the error message."""
    try:
        return len(audio.decode(data)[0])
    except ValueError as error:
        return str(error)


def test_joined_streams_are_resampled_as_one():
    part = encoded(tone(10_001), "OGG", "VORBIS")
    whole, _ = audio.decode(part * 3)
    assert len(whole) == 30_003
    for rate in (8000, 16_000, 44_100, 48_000):
        resampled, _ = audio.decode(part * 3, rate)
        assert abs(len(resampled) - 30_003 * rate / RATE) <= 1
        np.testing.assert_allclose(resampled, soxr.resample(whole, RATE, rate)[: len(resampled)], atol=2e-3)


def test_tags_at_the_end_of_an_ogg_file_are_not_damage():
    data = encoded(tone(), "OGG", "VORBIS")
    for notes in (b"TAG" + bytes(125), bytes(5000), b"made by somebody"):
        assert decoded(data + notes) == (N, "")


def layer_2(n_frames: int) -> bytes:
    """Return silent frames of MPEG-1 layer II, mono, 64 kbit/s at 44,100 Hz."""
    header = bytes([0xFF, 0xFD, 0x40, 0xC0])
    return n_frames * (header + bytes(208 - len(header)))


def test_frames_of_layer_2_are_counted():
    length, damage = decoded(layer_2(40))
    assert (damage, length % 1152) == ("", 0)
    assert length >= 39 * 1152
    assert decoded(layer_2(40)[:-100])[1] == "its last MPEG frame lacks 100 bytes"
    assert decoded(layer_2(40)[:-1])[1] == "its last MPEG frame lacks 1 byte"


def test_a_size_near_the_limit_is_open_only_if_the_file_is_shorter(tmp_path: Path):
    """The sentinel size of a recorder; a cut file of 3 GB; and a whole file of 2 GB with a chunk after its samples."""
    assert decoded(wav(SAMPLES, size=0x7FFFFFFF)) == (N, "")
    assert decoded(wav(SAMPLES, size=3_000_000_000))[1].startswith("the header states 2999867700 bytes more")
    path = tmp_path / "long.wav"
    path.write_bytes(wav(SAMPLES[:0], size=0x80000000))
    with path.open("r+b") as file:
        file.truncate(44 + 0x80000000)  # a sparse file, which needs no room on the disk
        file.seek(0, io.SEEK_END)
        file.write(b"LIST" + (4).to_bytes(4, "little") + b"INFO")
        found = audio.wav_data(file)
    assert (found.size, found.stated, found.unfinished) == (0x80000000, 0x80000000, False)


@pytest.mark.parametrize("end", range(8, 44, 3))
def test_headers_that_end_early_are_not_audio(end: int):
    for data in (encoded(SAMPLES, "RF64", "PCM_16"), wav(SAMPLES), encoded(SAMPLES, "AIFF", "PCM_16")):
        found = n_samples_or_error(data[:end])
        assert found == 0 or "neither soundfile nor FFmpeg can decode it" in str(found)


def test_only_possible_mpeg_audio_is_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Only possible MPEG audio is read as a whole. A video is not, although both may begin with a zero byte."""
    assert not mp3_module.begins(b"\0\0\0\x1cftypM4A " + bytes(500))
    assert mp3_module.begins(bytes(300) + without_tag(mp3())[:100])
    assert mp3_module.begins(b"ID3\x04")
    assert not mp3_module.begins(b"")
    monkeypatch.setattr(mp3_module, "streams", lambda data: pytest.fail("read as a whole"))
    audio.decode(encoded(SAMPLES, "FLAC", "PCM_16"))
    with pytest.raises(ValueError, match="neither soundfile nor FFmpeg can decode it"):
        audio.decode(b"\0\0\0\x1cftypM4A " + bytes(5000))
    assert audio.info(mp3()).format == "MP3"  # reads only the header


@pytest.mark.parametrize("size", [1, 2, 5])
def test_tags_before_an_mp3_are_skipped(size: int):
    """A tag with a footer, several tags in a row, and zero bytes."""
    footer = b"ID3\x04\0\x10\0\0\0\x0a" + bytes(10) + b"3DI\x04\0\x10\0\0\0\x0a"
    large = b"ID3\x03\0\0\0\0\x7f\x7f" + bytes(127 * 128 + 127)
    for lead in (footer, size * large, bytes(1000)):
        assert decoded(lead + mp3()) == (N, "")


def test_a_file_that_is_damaged_in_its_first_block_is_an_error():
    with pytest.raises(ValueError, match="soundfile cannot decode it"):
        audio.decode(encoded(tone(), "FLAC", "PCM_16")[:2000])


def test_layer_2_of_several_bit_rates_or_with_other_data_after_it_is_whole():
    faster = bytes([0xFF, 0xFD, 0x80, 0xC0]) + bytes(413)
    assert decoded(layer_2(1) + 40 * faster) == (41 * 1152, "")
    assert decoded(layer_2(40) + bytes(5000)) == (40 * 1152, "")


def test_a_missing_last_frame_of_an_mp3_is_reported():
    data = mp3()
    end = mp3_module.streams(data)[0].runs[-1][1] - first_frame_length(data)
    assert decoded(data[:end])[1] == "65711 of 66150 samples can be decoded"
