"""A part of a file behaves like a file of just those bytes, after any seek."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtzan_stream.audio.view import Memory, View

WHOLE = bytes(range(200))
STEPS = st.lists(
    st.tuples(st.sampled_from([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END]), st.integers(-60, 60), st.integers(0, 50)),
    max_size=8,
)


@pytest.mark.parametrize("kind", ["view", "view with a head", "memory"])
@given(start=st.integers(0, 40), length=st.integers(0, 40), steps=STEPS)
def test_a_part_is_read_like_its_bytes(kind: str, start: int, length: int, steps: list[tuple[int, int, int]]):
    """Seeking before the beginning goes to the beginning; after the end there is nothing."""
    part = WHOLE[start : start + length]
    head = b"head" if kind == "view with a head" else b""
    file = Memory(part) if kind == "memory" else View(io.BytesIO(WHOLE), start, start + length, head)
    expected = io.BytesIO(head + part)
    for whence, offset, count in steps:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: expected.tell(), io.SEEK_END: len(head + part)}[whence]
        assert file.seek(offset, whence) == file.tell() == expected.seek(max(0, base + offset))
        data = b""
        while len(data) < count and (more := file.read(count - len(data))):  # a raw file may return fewer bytes
            data += more
        assert data == expected.read(count)
        assert file.tell() == expected.tell()
