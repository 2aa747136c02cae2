"""Parsing the headers of WAV files."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from gtzan_stream.audio.wav import wav_data


def file_of(samples: np.ndarray, format: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 22050, format=format, subtype=subtype)
    return file.getvalue()


def wav(samples: np.ndarray, *, before: bytes = b"", fmt: bytes | None = None, promised: int | None = None) -> bytes:
    """Build a WAV file with other chunks `before` the samples, and `promised` as the stated size of the samples."""
    fmt = fmt or struct.pack("<HHIIHH", 1, 1, 22050, 44100, 2, 16)
    data = samples.astype("<i2").tobytes()
    size = len(data) if promised is None else promised
    body = b"WAVE" + struct.pack("<4sI", b"fmt ", len(fmt)) + fmt + before + struct.pack("<4sI", b"data", size) + data
    return b"RIFF" + struct.pack("<I", len(body) & 0xFFFFFFFF) + body


RAMP = np.arange(1000, dtype=np.int16)
GUID = bytes.fromhex("0000000010008000 00aa00389b71".replace(" ", ""))
EXTENSIBLE = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 22050, 44100, 2, 16, 22, 16, 4) + struct.pack("<H", 1) + GUID
HEADERS = {
    "plain": {},
    "list before data": {"before": struct.pack("<4sI", b"LIST", 26) + b"x" * 26},
    "chunk of odd length before data": {"before": struct.pack("<4sI", b"junk", 5) + b"x" * 6},
    "extensible": {"fmt": EXTENSIBLE},
}


@pytest.mark.parametrize("options", HEADERS.values(), ids=HEADERS.keys())
def test_samples_are_found_after_any_header(options: dict):
    data = wav(RAMP, **options)
    found = wav_data(data)
    assert found is not None
    assert (found.encoding, found.channels, found.sample_rate) == ("pcm16", 1, 22050)
    assert (found.size, found.stated, found.frames, found.unfinished) == (2000, 2000, 1000, False)
    np.testing.assert_array_equal(np.frombuffer(data, "<i2", found.size // 2, found.offset), RAMP)
    np.testing.assert_array_equal(soundfile.read(io.BytesIO(data), dtype="int16")[0], RAMP)


def test_a_file_shorter_than_its_header_states_is_truncated():
    found = wav_data(wav(RAMP, promised=2400))
    assert found is not None
    assert (found.size, found.stated, found.unfinished) == (2000, 2400, False)


PIPED = [0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFF00, 0xFFFFFFDB, 0xFFFFFFFF]


@pytest.mark.parametrize("promised", [*PIPED, 0x7FFFEFFF, 0x80000001, 0xFFFFFEFF])
def test_a_header_written_to_a_pipe_states_no_size(promised: int):
    """Encoders write the largest 31- or 32-bit number, or that minus a header. Any other size is a promise."""
    found = wav_data(wav(RAMP, promised=promised))
    assert found is not None
    assert found.size == 2000
    assert (found.stated, found.unfinished) == ((2000, True) if promised in PIPED else (promised, False))


@pytest.mark.parametrize("options", HEADERS.values(), ids=HEADERS.keys())
def test_a_plain_header_describes_the_same_samples(options: dict):
    found = wav_data(wav(RAMP, **options))
    assert found is not None
    data = found.header() + RAMP.astype("<i2").tobytes()
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert wav_data(data) == replace(found, offset=len(found.header()))
    np.testing.assert_array_equal(soundfile.read(io.BytesIO(data), dtype="int16")[0], RAMP)
    endless = replace(found, size=5 << 30).header()  # too large for 32 bits
    assert endless[4:8] == endless[-4:] == b"\xff\xff\xff\xff"


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("subtype", "encoding", "frames"),
    [("PCM_24", "pcm24", 1000), ("FLOAT", "float32", 1000), ("PCM_U8", "pcm8", 1000), ("ULAW", "tag7-8", 0)],
)
def test_other_encodings_are_named(subtype: str, encoding: str, frames: int, channels: int):
    found = wav_data(file_of(np.stack([RAMP] * channels, axis=1), "WAV", subtype))
    assert found is not None
    assert (found.encoding, found.channels, found.frames) == (encoding, channels, frames)


def test_rf64_has_its_size_in_another_chunk():
    data = file_of(RAMP, "RF64")
    found = wav_data(data)
    assert found is not None
    np.testing.assert_array_equal(np.frombuffer(data, "<i2", found.size // 2, found.offset), RAMP)


UNNAMED = b"\xff\xfe\0\1" + bytes(4)  # a chunk with a name that is not ASCII


@pytest.mark.parametrize(
    "data", [b"", b"RIFF\0\0\0\0WAVE", file_of(RAMP, "FLAC"), wav(RAMP)[:40], wav(RAMP, before=UNNAMED)]
)
def test_other_files_are_not_wav(data: bytes):
    assert wav_data(data) is None
