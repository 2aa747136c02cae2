"""Malicious archives: nothing of them is unpacked."""

import io
import tarfile
from pathlib import Path

import pytest

from gtzan_stream.catalog import fetch
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
        archive_with(tarfile.REGTYPE, "genres/../../outside.wav"),
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
    with pytest.raises(UserError, match=r"unsafe: .*by hand"):
        fetch.fetch(archive.parent)
    assert list(tmp_path.rglob("*")) == [archive.parent, archive]


def test_a_leading_slash_is_ignored(tmp_path: Path) -> None:
    archive = tmp_path / "genres.tar.gz"
    archive.write_bytes(archive_with(tarfile.REGTYPE, f"/{tmp_path}/absolute.wav"))
    fetch.fetch(tmp_path)
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("absolute.wav")] == [
        Path(*tmp_path.parts[1:], "absolute.wav")
    ]
