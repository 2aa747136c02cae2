"""The length of a clip is the number of samples that decode, whatever its header states; missing audio is reported."""

import io
import re
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream import audio
from gtzan_stream.audio import mp3 as mp3_module
from tests.audio_files import MP3_FRAME, RATE, N, encoded, mp3, tone, wav, with_size, without_tag

SOUNDS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "GSM610"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "G721_32"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AU", "PCM_16"),
    ("AU", "G723_24"),
    ("AIFF", "PCM_16"),
    ("AIFF", "GSM610"),
    ("CAF", "PCM_16"),
    ("VOC", "PCM_16"),
    ("NIST", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
]


def decoded(data: bytes) -> tuple[int, str]:
    pcm = audio.decode_pcm16(data)
    return len(pcm.samples), pcm.damage


@pytest.mark.parametrize(("format", "subtype"), SOUNDS)
def test_every_format_decodes_to_its_end_and_missing_audio_is_reported(format: str, subtype: str):
    data = encoded(tone(), format, subtype)
    length, damage = decoded(data)
    assert N <= length <= N + 1100  # some codecs fill their last block
    assert damage == ""
    for end in (len(data) * 3 // 4, len(data) - 200):
        shorter, damage = decoded(data[:end])
        assert 0 < shorter < length or (end > 0.9 * len(data) and shorter == length)  # the last block is filled up
        assert damage, end


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize("rate", [RATE, 44100])
def test_an_mp3_without_a_tag_has_all_its_frames(mode: str, rate: int):
    data = mp3(mode, rate)
    frame = MP3_FRAME * (2 if rate == 44100 else 1)
    tagged = audio.decode_pcm16(data).samples
    assert len(tagged) == N
    n_frames = -(-(N + 1105) // frame)  # the encoder's delay, 576, and the decoder's, 529, come before the sound
    untagged = audio.decode_pcm16(without_tag(data))
    assert len(untagged.samples) == n_frames * frame
    assert untagged.damage == ""
    np.testing.assert_allclose(untagged.samples[1105 : 1105 + N].astype(int), tagged, atol=2)


@pytest.mark.parametrize("short", [1, 2, 40])
def test_a_tag_that_states_too_few_frames_loses_none(short: int):
    """libsndfile would stop after the frames that the tag states."""
    data = mp3()
    field = data.index(b"Info") + 8  # after the flags
    stated = int.from_bytes(data[field : field + 4], "big")
    fewer = data[:field] + (stated - short).to_bytes(4, "big") + data[field + 4 :]
    length, damage = decoded(fewer)
    assert (length >= N, damage) == (True, "")


def test_the_number_of_missing_bytes_is_reported():
    for format in ("WAV", "RF64", "W64", "AU", "AIFF", "CAF", "NIST", "VOC"):
        data = encoded(tone(), format, "PCM_16")
        for lost in (10, 1001):
            found = re.fullmatch(r"the header states (\d+) bytes more than there are", decoded(data[:-lost])[1])
            assert found, format
            assert int(found[1]) == lost - (format == "VOC"), format  # VOC files end with a terminator byte


def test_a_very_short_mp3():
    data = mp3(samples=tone(100))
    assert decoded(data) == (100, "")
    length, damage = decoded(without_tag(data))
    assert (length % MP3_FRAME, damage) == (0, "")
    assert length >= 100 + 1105


def test_free_bit_rates_are_left_to_libsndfile():
    assert mp3_module.streams(b"\xff\xfb\x00\x04" * 5000) == []  # a free bit rate
    assert mp3_module.streams(b"") == []


def test_a_truncated_mp3_without_a_tag_is_reported():
    data = without_tag(mp3())
    length, damage = decoded(data[:-50])
    assert damage == "its last MPEG frame lacks 50 bytes"
    assert length <= decoded(data)[0]


def test_joined_mp3s_have_all_their_parts():
    first, second = mp3(), mp3("VARIABLE", samples=tone(30_000))
    assert decoded(first + second) == (N + 30_000, "")
    id3 = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    assert decoded(id3 + first + b"TAG" + bytes(125) + id3 + second) == (N + 30_000, "")
    n_frames = len(audio.decode_pcm16(without_tag(first)).samples)
    assert decoded(without_tag(first) * 2) == (2 * n_frames, "")
    faster = mp3(rate=44100)
    assert decoded(first + faster) == (N + N // 2, "")  # at the first part's rate


def test_stray_bytes_inside_an_mp3_are_skipped_and_reported():
    data = mp3()
    middle = len(data) // 2
    for stray in (b"x" * 500, b"\xff\xfb" * 2000):
        length, damage = decoded(data[:middle] + stray + data[middle:])
        assert N - 2 * MP3_FRAME <= length <= N  # the frame that contains the stray bytes is lost
        assert "bytes between its frames are not MPEG audio" in damage


def test_frames_missing_inside_an_mp3_are_reported():
    data = mp3()
    length, damage = decoded(data[: len(data) // 2] + data[len(data) * 3 // 4 :])
    assert length < N
    assert "MPEG frames are there" in damage


def test_tags_at_the_end_of_an_mp3_are_not_damage():
    assert decoded(mp3() + b"APETAGEX\xd0\x07\0\0" + (32).to_bytes(4, "little") + bytes(16)) == (N, "")
    assert decoded(mp3() + b"made by somebody") == (N, "")


def test_chained_ogg_streams_are_all_decoded():
    first, second = encoded(tone(), "OGG", "VORBIS"), encoded(tone(30_000), "OGG", "VORBIS")
    assert decoded(first + second) == (N + 30_000, "")
    assert audio.decode_pcm16(first + second).source.frames == N + 30_000
    for n in (36, 65_534, 65_536, 70_001):  # within and across the blocks that are searched for the next page
        stray = f"{n} bytes from byte {len(first)} on are not Ogg pages"
        assert decoded(first + b"x" * n + second) == (N + 30_000, stray)
    length, damage = decoded(first + second[:-100])
    assert N < length < N + 30_000
    assert damage == "the file ends 100 bytes before the end of an Ogg page"


def test_an_ogg_file_without_its_last_page_is_reported():
    data = encoded(tone(), "OGG", "VORBIS")
    assert decoded(data[: data.rindex(b"OggS")])[1] == "its last Ogg page is missing"


SAMPLES = (tone() * 32767).astype(np.int16)
OPEN_SIZES = {
    "wav": wav(SAMPLES, size=0),
    "wav to a pipe": wav(SAMPLES, size=0xFFFFFFFF),
    "wav of a recorder": with_size(wav(SAMPLES, size=0), b"RIFF", bytes(4)),
    "rf64": with_size(encoded(SAMPLES, "RF64", "PCM_16"), b"ds64", bytes(8), offset=16),
    "au": with_size(encoded(SAMPLES, "AU", "PCM_16"), b".snd", bytes(4), offset=8),
    "au to a pipe": with_size(encoded(SAMPLES, "AU", "PCM_16"), b".snd", b"\xff" * 4, offset=8),
    "aiff": with_size(encoded(SAMPLES, "AIFF", "PCM_16"), b"SSND", bytes(4)),
}


@pytest.mark.parametrize("name", OPEN_SIZES)
def test_all_samples_are_read_if_the_header_leaves_the_size_open(name: str):
    pcm = audio.decode_pcm16(OPEN_SIZES[name])
    np.testing.assert_array_equal(pcm.samples, SAMPLES)
    assert pcm.damage == ""


def test_an_empty_wav_with_chunks_after_it_stays_empty():
    even, odd = (b"LIST" + len(notes).to_bytes(4, "little") + notes for notes in (b"INFO", b"odd"))
    for notes in (even, odd, odd + b"\0" + even):  # the second lacks the padding byte of an odd length
        assert decoded(wav(SAMPLES[:0], after=notes)) == (0, "")
    assert decoded(wav(np.zeros(5000), size=0)) == (5000, "")


@pytest.mark.parametrize("rate", [1, 999, 1_000_000, 2_000_000_000])
def test_an_impossible_rate_is_an_error_before_anything_is_decoded(rate: int):
    with pytest.raises(ValueError, match=f"its header says {rate} Hz, expected 1000 to 768000 Hz"):
        audio.decode(wav(SAMPLES[:5000], rate=rate), sample_rate=22050)


def test_a_file_next_to_its_macos_metadata_file_is_read(tmp_path: Path):
    (tmp_path / "song.mp3").write_bytes(mp3())
    (tmp_path / "._song.mp3").write_bytes(b"\0\5\x16\7 macOS metadata of a file" + bytes(50))
    assert len(audio.decode(tmp_path / "song.mp3")[0]) == N
    assert audio.info(tmp_path / "song.mp3").format == "MP3"


def test_a_binary_file_can_be_given_instead_of_a_path():
    for data in (mp3(), wav(SAMPLES), wav(SAMPLES, size=0)):
        file = io.BytesIO(data)
        assert len(audio.decode(file)[0]) == N
        assert len(audio.decode(file)[0]) == N  # again, with the file position at the end


def test_memory_is_not_allocated_by_the_length_in_a_header():
    """A FLAC header that claims 2**35 samples: only the samples in the file are decoded."""
    data = bytearray(encoded(SAMPLES, "FLAC", "PCM_16"))
    at = data.index(b"fLaC") + 8 + 13  # the 36-bit number of samples ends here, in STREAMINFO
    data[at] |= 0x0F
    length, damage = decoded(bytes(data))
    assert length == N
    assert "samples can be decoded" in damage or "breaks off" in damage
