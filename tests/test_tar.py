"""The members of a tar file equal those of tarfile, wherever the file ends."""

import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_stream.store.index import index
from gtzan_stream.store.tar import TarMember, list_members
from tests.test_scan_shards import tar
from tests.test_store_index import lines, sound

SIZES = st.one_of(st.integers(0, 3000), st.sampled_from([512, 1024, 511, 513]))


def listed(path: Path) -> tuple[list[TarMember], list[str]]:
    """Return the members of a tar file, and the kinds of the reported issues."""
    kinds: list[str] = []
    return list(list_members(path, lambda kind, detail: kinds.append(kind))), kinds


@settings(max_examples=60)
@given(st.lists(SIZES, min_size=1, max_size=5), st.data())
def test_members_equal_those_of_tarfile_even_without_an_end_marker(sizes: list[int], data: st.DataObject):
    """A file that is cut inside a member is reported as truncated, and so is that member."""
    with TemporaryDirectory() as folder:
        contents = [(f"{i}.wav", bytes([i + 1]) * size) for i, size in enumerate(sizes)]
        path = tar(Path(folder) / "x.tar", contents)
        with tarfile.open(path) as archive:
            entries = [(entry.name, entry.offset_data, entry.size) for entry in archive]
        last, whole = entries[-1], path.read_bytes()
        end = last[1] + last[2]
        for length in (len(whole), end, data.draw(st.integers(end, len(whole)))):
            path.write_bytes(whole[:length])
            assert listed(path) == ([TarMember(*entry) for entry in entries], [])
        if last[2]:
            path.write_bytes(whole[: data.draw(st.integers(last[1], end - 1))])
            (*found, cut), kinds = listed(path)
            assert found == [TarMember(*entry) for entry in entries[:-1]]
            assert cut.problem
            assert kinds == ["truncated"]


def test_a_sparse_file_is_reported(tmp_path: Path):
    """GNU tar stores a file with holes as several pieces, which cannot be read as one range of bytes."""
    data = sound(2)
    with tarfile.open(tar(tmp_path / "x.tar", [("a_1.wav", sound(1)), ("a_2.wav", data)])) as archive:
        offset = archive.getmember("a_2.wav").offset
    numbers = (0, len(data) - 1000, len(data), 1000)  # two pieces: offset and size of each
    with (tmp_path / "x.tar").open("r+b") as file:
        file.seek(offset)
        header = bytearray(file.read(512))
        header[156:157] = tarfile.GNUTYPE_SPARSE
        header[257:265] = tarfile.GNU_MAGIC
        header[386:434] = b"".join(b"%011o\0" % number for number in numbers)
        header[483:495] = b"%011o\0" % (len(data) + 1000)
        header[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(header))[0]
        file.seek(offset)
        file.write(header)
    manifest = index(tmp_path)
    assert manifest.keys.to_pylist() == ["a_1"]
    assert [(line["key"], line["detail"]) for line in lines(manifest)] == [
        ("a_2", "it is not an ordinary file in the tar file: pack the file itself")
    ]
    assert manifest.left_out == 1


def test_a_member_after_an_empty_one_with_a_wrong_size_is_found(tmp_path: Path):
    wrong = tarfile.TarInfo("a_1.wav")
    wrong.size = 2**30
    after = tar(tmp_path / "after.tar", [("a_2.wav", sound(2))]).read_bytes()
    path = tmp_path / "x.tar"
    path.write_bytes(wrong.tobuf() + after)
    members, _ = listed(path)
    assert [(member.name, member.offset, bool(member.problem)) for member in members] == [
        ("a_1.wav", 512, True),
        ("a_2.wav", 1024, False),
    ]
