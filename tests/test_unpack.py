"""Archives that mean harm: nothing of them is unpacked."""

import io
import tarfile
from pathlib import Path

import pytest

from gtzan_stream.catalog import fetch
from gtzan_stream.errors import UserError


def harmful(kind: bytes, name: str, link: str = "") -> bytes:
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
        harmful(tarfile.REGTYPE, "/tmp/absolute.wav"),
        harmful(tarfile.REGTYPE, "genres/../../outside.wav"),
        harmful(tarfile.DIRTYPE, "../outside"),
        harmful(tarfile.REGTYPE, "C:\\outside.wav"),
        harmful(tarfile.SYMTYPE, "genres/link", "/etc"),
        harmful(tarfile.LNKTYPE, "genres/hard.wav", "/etc/passwd"),
        harmful(tarfile.CHRTYPE, "genres/device"),
        harmful(tarfile.FIFOTYPE, "genres/pipe"),
    ],
)
def test_unsafe_archives_write_nothing(tmp_path: Path, content: bytes) -> None:
    archive = tmp_path / "in" / "genres.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"unsafe: member .*by hand"):
        fetch.fetch(archive.parent)
    assert list(tmp_path.rglob("*")) == [archive.parent, archive]
