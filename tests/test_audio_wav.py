"""WAV headers of every shape."""

import io
import struct

import numpy as np
import pytest
import soundfile

from gtzan_stream.audio.wav import wav_data


def file_of(samples: np.ndarray, format: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 22050, format=format, subtype=subtype)
    return file.getvalue()


def wav(samples: np.ndarray, *, before: bytes = b"", fmt: bytes | None = None, promised: int | None = None) -> bytes:
    """A WAV file by hand, with chunks of one's own before the samples and any promise of their size."""
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
    "odd chunk before data": {"before": struct.pack("<4sI", b"junk", 5) + b"x" * 6},
    "extensible": {"fmt": EXTENSIBLE},
}


@pytest.mark.parametrize("options", HEADERS.values(), ids=HEADERS.keys())
def test_samples_are_found_behind_any_header(options: dict):
    data = wav(RAMP, **options)
    found = wav_data(data)
    assert found is not None
    assert (found.encoding, found.channels, found.sample_rate) == ("pcm16", 1, 22050)
    assert not found.truncated
    np.testing.assert_array_equal(np.frombuffer(data, "<i2", found.size // 2, found.offset), RAMP)
    np.testing.assert_array_equal(soundfile.read(io.BytesIO(data), dtype="int16")[0], RAMP)


def test_a_header_that_promises_more_is_truncated():
    found = wav_data(wav(RAMP, promised=2400))
    assert found is not None
    assert found.truncated
    assert (found.size, found.promised) == (2000, 2400)


@pytest.mark.parametrize("promised", [0x7FFFF000, 0xFFFFFFFF])
def test_a_header_written_to_a_pipe_promises_nothing(promised: int):
    found = wav_data(wav(RAMP, promised=promised))
    assert found is not None
    assert not found.truncated
    assert found.size == 2000


@pytest.mark.parametrize(("subtype", "encoding"), [("PCM_24", "pcm24"), ("FLOAT", "float32"), ("PCM_U8", "pcm8")])
def test_other_encodings_are_named(subtype: str, encoding: str):
    found = wav_data(file_of(RAMP, "WAV", subtype))
    assert found is not None
    assert found.encoding == encoding


def test_rf64_keeps_its_size_elsewhere():
    data = file_of(RAMP, "RF64")
    found = wav_data(data)
    assert found is not None
    np.testing.assert_array_equal(np.frombuffer(data, "<i2", found.size // 2, found.offset), RAMP)


@pytest.mark.parametrize("data", [b"", b"RIFF\0\0\0\0WAVE", file_of(RAMP, "FLAC"), wav(RAMP)[:40]])
def test_what_is_no_wav_has_no_samples(data: bytes):
    assert wav_data(data) is None
