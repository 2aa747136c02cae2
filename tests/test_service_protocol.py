"""Messages of the feature service: what is refused, and that nothing is unpickled."""

import re
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream import service
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.service import protocol
from gtzan_stream.service.protocol import (
    Busy,
    NoSuchStream,
    Refused,
    ServiceError,
    arrays_of,
    decode,
    encode,
    error_header,
    layout_of,
    raise_error,
)

EXPECTED = (("features", "<f4", (2, 5)), ("labels", "<i8", (2,)), ("weights", "<f4", (2,)))
ARRAYS = {
    "features": np.arange(10, dtype="<f4").reshape(2, 5),
    "labels": np.array([1, 2**40], "<i8"),
    "weights": np.ones(2, "<f4"),
}
HEADER = {"arrays": layout_of(EXPECTED)}
FRAMES = [ARRAYS["features"].tobytes(), ARRAYS["labels"].tobytes() + ARRAYS["weights"].tobytes()]


def test_a_header_comes_back():
    header = {"ask": "get", "epoch": 2**62, "x": -1.5, "names": ["é", None, True]}
    assert decode(encode(header)) == header


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 9223372036854775808}',
        b'{"a": 1' + b"0" * 5000 + b"}",
        b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b"[" * 100_000,
        b'{"a": 1} {"b": 2}',
    ],
    ids=lambda frame: frame[:16].decode("latin-1"),
)
def test_what_is_not_a_plain_json_object_is_refused(frame: bytes):
    with pytest.raises(ServiceError) as caught:
        decode(frame)
    assert len(str(caught.value)) < 200, "no header is repeated in a message"


def test_a_header_of_the_largest_numbers_and_depth_is_read():
    assert decode(b'{"a": [9223372036854775807, -9223372036854775807]}') == {"a": [2**63 - 1, 1 - 2**63]}
    nested = b"[" * 60 + b"]" * 60
    assert decode(b'{"a": ' + nested + b"}")


def test_a_header_that_is_too_long_is_not_parsed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "MAX_HEADER_BYTES", 20)
    with pytest.raises(ServiceError, match="a header has 30 bytes"):
        decode(b'{"a": "' + b"b" * 21 + b'"}')


def test_arrays_come_back():
    found = arrays_of(HEADER, FRAMES, EXPECTED)
    assert list(found) == [name for name, _, _ in EXPECTED]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("offset", range(8))
def test_arrays_are_aligned_and_writable_wherever_a_frame_begins(offset: int):
    frames = [np.frombuffer(bytearray(offset) + bytearray(frame), np.uint8)[offset:] for frame in FRAMES]
    for name, array in arrays_of(HEADER, frames, EXPECTED).items():
        assert array.flags.aligned, name
        array += 1
        np.testing.assert_array_equal(array, ARRAYS[name] + 1)
    own = [frame.tobytes() for frame in frames]
    assert own[1] == FRAMES[1], "the small arrays are copies"
    assert (own[0] == FRAMES[0]) == bool(offset % 4), "the large one is not, if it can be used where it is"


@pytest.mark.parametrize(
    ("header", "frames"),
    [
        ({}, FRAMES),
        ({"arrays": None}, FRAMES),
        ({"arrays": ["features", "<f4", [2, 5]]}, FRAMES),
        ({"arrays": layout_of(EXPECTED[:2])}, FRAMES),
        ({"arrays": layout_of((("features", "<f8", (2, 5)), *EXPECTED[1:]))}, FRAMES),
        ({"arrays": layout_of((("features", "|O", (2, 5)), *EXPECTED[1:]))}, FRAMES),
        ({"arrays": layout_of((("features", "<f4", (5, 2)), *EXPECTED[1:]))}, FRAMES),
        ({"arrays": layout_of((("features", "<f4", (2**40, 2**40)), *EXPECTED[1:]))}, FRAMES),
        (HEADER, []),
        (HEADER, FRAMES[:1]),
        (HEADER, [*FRAMES, b""]),
        (HEADER, [FRAMES[0][:-1], FRAMES[1]]),
        (HEADER, [FRAMES[0], FRAMES[1] + b"x"]),
        (HEADER, [FRAMES[1], FRAMES[0]]),
    ],
)
def test_arrays_that_are_not_those_expected_are_refused(header: dict, frames: list[bytes]):
    with pytest.raises(ServiceError, match="expected"):
        arrays_of(header, frames, EXPECTED)


@pytest.mark.parametrize("error", [UserError("a"), BadSample("b"), NoSuchStream("c"), Busy("d"), ServiceError("e")])
def test_an_error_comes_back(error: Exception):
    with pytest.raises(ServiceError, match=f"^{error}$") as caught:
        raise_error(decode(encode(error_header(error))))
    found = caught.value.error if isinstance(caught.value, Refused) else caught.value
    assert type(found) is type(error)


def test_another_error_becomes_a_service_error():
    assert error_header(OSError("x")) == {"error": "ServiceError", "message": "OSError: x"}


@pytest.mark.parametrize("name", ["SystemExit", None, 3, ["UserError"], {"a": 1}])
def test_an_error_of_an_unknown_kind_is_a_service_error(name: object):
    with pytest.raises(ServiceError) as caught:
        raise_error({"error": name, "message": "m"})
    assert type(caught.value) is ServiceError


def test_the_message_of_an_error_is_one_short_line():
    assert "\n" not in error_header(UserError("a\nb\x1b[2J"))["message"]
    for message in ("x" * 10**6, "a\nb\x1b[31m", ["a"], None):
        with pytest.raises(ServiceError) as caught:
            raise_error({"error": "Busy", "message": message})
        assert len(str(caught.value)) <= 2000
        assert str(caught.value).isprintable()


def test_nothing_in_the_service_can_unpickle():
    files = list(Path(service.__file__).parent.glob("*.py"))
    assert len(files) > 10
    forbidden = re.compile(
        r"pickle|marshal|shelve|pyobj|recv_serialized|torch\.load|np\.load|numpy\.load|\beval\(|exec\("
    )
    for file in files:
        code = "\n".join(line.split("#")[0] for line in file.read_text(encoding="utf-8").splitlines())
        found = [word for word in forbidden.findall(code) if word != "pickle" or "ever unpickled" not in code]
        assert not found, f"{file}: {found}"
