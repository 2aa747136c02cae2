"""Malicious or damaged archives: nothing is unpacked from them."""

import io
import random
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

from gtzan_stream.catalog import fetch, unpack
from gtzan_stream.errors import UserError


def archive_with(kind: bytes, name: str, link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        good = tarfile.TarInfo("genres/rock/rock.00000.wav")
        archive.addfile(good, io.BytesIO())
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        archive.addfile(member, io.BytesIO())
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        archive_with(tarfile.REGTYPE, "/tmp/absolute.wav"),
        archive_with(tarfile.REGTYPE, "genres/../../outside.wav"),
        archive_with(tarfile.REGTYPE, "C:\\outside.wav"),
        archive_with(tarfile.REGTYPE, "..\\outside.wav"),
        archive_with(tarfile.DIRTYPE, "../outside"),
        archive_with(tarfile.SYMTYPE, "genres/link", "/etc"),
        archive_with(tarfile.LNKTYPE, "genres/hard.wav", "/etc/passwd"),
        archive_with(tarfile.CHRTYPE, "genres/device"),
        archive_with(tarfile.FIFOTYPE, "genres/pipe"),
    ],
)
def test_unsafe_archives_write_nothing(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "in" / "genres.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"unsafe: member .*by hand"):
        fetch.fetch(archive.parent)
    assert list(tmp_path.rglob("*")) == [archive.parent, archive]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_wrong_bytes_in_an_archive_are_an_error_or_change_the_file(mode: str, tmp_path: Path) -> None:
    """Each kind of compression raises its own errors."""
    rng = random.Random(0)
    data = " ".join(str(rng.randrange(1000)) for _ in range(20_000)).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        member = tarfile.TarInfo("rock.wav")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    whole, path, out = buffer.getvalue(), tmp_path / "x.tar", tmp_path / "out"
    out.mkdir()
    for case in range(60):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged if case % 4 else whole[: rng.randrange(len(whole))])
        with suppress(UserError):
            unpack.unpack(path, out)
            assert [file.name for file in out.iterdir()] == ["rock.wav"]
            (out / "rock.wav").unlink()
        assert list(out.iterdir()) == []
