"""AIFF, W64 and CAF headers: other chunks may come before the samples, and missing bytes are counted."""

import io
import struct

import numpy as np
import pytest

from gtzan_stream import audio
from gtzan_stream.audio.headers import missing_bytes
from tests.audio_files import encoded

SAMPLES = np.arange(-1000, 1000, dtype=np.int16)
GUID = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"  # W64 names end in these bytes


def aiff(note: bytes) -> bytes:
    """Put a chunk before the samples, padded to an even length."""
    data = encoded(SAMPLES, "AIFF", "PCM_16")
    chunk = b"ANNO" + struct.pack(">I", len(note)) + note + bytes(len(note) % 2)
    body = data[8:12] + chunk + data[12:]
    return b"FORM" + struct.pack(">I", len(body)) + body


def w64(note: bytes) -> bytes:
    """Put a chunk before the samples, padded to a multiple of eight; its size includes its header."""
    data = encoded(SAMPLES, "W64", "PCM_16")
    chunk = b"note" + GUID + struct.pack("<Q", 24 + len(note)) + note + bytes(-len(note) % 8)
    body = data[24:40] + chunk + data[40:]
    return data[:16] + struct.pack("<Q", 24 + len(body)) + body


def caf(note: bytes) -> bytes:
    """Put a chunk before the samples, not padded."""
    data = encoded(SAMPLES, "CAF", "PCM_16")
    start = data.index(b"data")
    return data[:start] + b"uuid" + struct.pack(">q", len(note)) + note + data[start:]


@pytest.mark.parametrize("with_chunk", [aiff, w64, caf])
@pytest.mark.parametrize("length", range(1, 9))
def test_chunks_of_any_length_may_come_before_the_samples(with_chunk, length: int):
    data = with_chunk(b"x" * length)
    pcm = audio.decode_pcm16(data)
    np.testing.assert_array_equal(pcm.samples, SAMPLES)
    assert pcm.damage == ""
    for lost in (1, 500):
        plural = "" if lost == 1 else "s"
        message = f"the header states {lost} byte{plural} more than there are"
        assert missing_bytes(io.BytesIO(data[:-lost])) == message


def test_a_caf_file_may_leave_its_size_open():
    data = encoded(SAMPLES, "CAF", "PCM_16")
    start = data.index(b"data") + 4
    assert missing_bytes(io.BytesIO(data[:start] + struct.pack(">q", -1) + data[start + 8 :])) == ""
