"""Rows that are read without the GIL equal those of `ClipReader.read`; what cannot be read so is left to it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from gtzan_stream.augment import recipe
from gtzan_stream.dsp.backend import force
from gtzan_stream.kernels import numba_read
from gtzan_stream.loader import Loader
from gtzan_stream.store import direct, read
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.read import ClipReader
from tests.conftest import without_numba, write_wav

MARK = 12345


def drawn(manifest: Manifest, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw clips, starts and lengths of segments inside their clips, some of them whole clips."""
    rng = np.random.default_rng(3)
    clips = rng.integers(0, len(manifest), n)
    lengths = np.minimum(rng.integers(1, 9000, n), manifest.frames[clips])
    starts = rng.integers(0, manifest.frames[clips] - lengths + 1)
    starts[:3], lengths[:3] = 0, manifest.frames[clips[:3]]
    return clips, starts, lengths


def rows_left(reader: ClipReader, clips: list[int], starts: list[int], lengths: list[int]) -> list[int]:
    """Read all rows at once, and check that reading them one by one leaves the same."""
    rows = reader.direct_rows(*(np.array(values) for values in (clips, starts, lengths)))
    assert rows is not None
    out = np.full((len(clips), max(lengths)), MARK, np.int16)
    left = rows.read_rows(0, out)
    assert left == [row for row in range(len(clips)) if not rows.read_row(row, out[row])]
    return left


def test_rows_equal_those_read_one_by_one(shards: Path):
    manifest = Manifest.open(shards)
    clips, starts, lengths = drawn(manifest)
    assert len(set(manifest.shard[clips])) > 1
    reader = ClipReader(manifest)
    rows = reader.direct_rows(clips, starts, lengths)
    assert rows is not None
    out = np.full((len(clips), lengths.max() + 5), MARK, np.int16)
    left = [*rows.read_rows(0, out[:20]), *rows.read_rows(20, out[20:])]
    assert len(left) < len(clips) / 10  # those with a zero at both ends and in the middle
    for row in sorted(set(range(len(clips))) - set(left)):
        expected, alone = np.empty((2, lengths[row]), np.int16)
        reader.read(int(clips[row]), int(starts[row]), expected)
        np.testing.assert_array_equal(out[row, : lengths[row]], expected)
        assert (out[row, lengths[row] :] == MARK).all()
        assert rows.read_row(row, alone) is True
        np.testing.assert_array_equal(alone, expected)


def test_rows_beyond_a_clips_ends_are_reflected(shards: Path):
    """They are left if the mirror image would need samples that are not read."""
    manifest = Manifest.open(shards)
    reader, frames = ClipReader(manifest), int(manifest.frames[0])
    cases = [(-1, 20), (-9, 20), (-10, 20), (-11, 20), (frames - 20, 20), (frames - 19, 20), (frames - 11, 20)]
    cases += [(frames - 10, 20), (frames, 20), (-20, 20), (-40, frames + 70), (-frames, 3 * frames), (7, 0)]
    starts, lengths = zip(*cases, strict=True)
    assert rows_left(reader, [0] * len(cases), list(starts), list(lengths)) == [2, 3, 7, 8, 9, 11, 12]
    rows = reader.direct_rows(np.zeros(len(cases), int), np.array(starts), np.array(lengths))
    assert rows is not None
    for row in (0, 1, 4, 5, 6, 10):
        found, expected = np.full((2, lengths[row] + 3), MARK, np.int16)
        assert rows.read_row(row, found)
        reader.read(0, starts[row], expected[:-3])
        np.testing.assert_array_equal(found, expected)


def test_rows_that_may_be_holes_are_left(tmp_path: Path):
    samples = np.ones(1000, np.int16)
    samples[100:300] = samples[500:510] = 0
    write_wav(tmp_path / "clips" / "jazz" / "a.wav", samples)
    reader = ClipReader(pack(tmp_path / "clips", tmp_path / "shards"))
    starts, lengths = [100, 99, 101, 0, 100, 290], [200, 200, 200, 201, 1, 215]  # the last has zeros at both ends
    assert rows_left(reader, [0] * 6, starts, lengths) == [0, 4]


def test_floats_and_members_to_decode_are_left(shards: Path, clips_folder: Path, tmp_path: Path):
    four = np.zeros(4, int)
    assert ClipReader(pack(clips_folder, tmp_path, codec="flac")).direct_rows(four, four, four + 9) is None
    manifest = Manifest.open(shards)
    manifest.direct[3] = False  # one in another format, among others
    reader = ClipReader(manifest)
    assert reader.dtype is np.float32
    assert reader.direct_rows(four, four, four + 9) is None
    reader.dtype = np.int16
    assert rows_left(reader, [2, 3, 4], [50, 50, 50], [90, 90, 90]) == [1]


def test_rows_of_a_truncated_shard_are_left(shards: Path, tmp_path: Path):
    """The rows of other shards, and those before the end of this one, are read."""
    copy = shutil.copytree(shards, tmp_path / "copy")
    manifest = Manifest.open(copy)
    shard = int(manifest.shard[0])
    last, other = np.flatnonzero(manifest.shard == shard)[-1], np.flatnonzero(manifest.shard != shard)[0]
    os.truncate(copy / manifest.shards[shard].name, int(manifest.data_offset[last]) + 2 * 5000)
    clips, starts = [last, last, other, last], [4000, 4001, 4000, 50_000]
    assert rows_left(ClipReader(manifest), clips, starts, [1000] * 4) == [1, 3]


def test_rows_of_a_shard_that_cannot_be_opened_are_left(shards: Path, tmp_path: Path):
    copy = shutil.copytree(shards, tmp_path / "copy")
    manifest = Manifest.open(copy)
    first, last = int(manifest.shard.argmin()), int(manifest.shard.argmax())
    (copy / manifest.shards[int(manifest.shard[last])].name).unlink()
    left = rows_left(ClipReader(manifest), [last, first], [4000, 4000], [90, 90])
    assert left == [0]  # shards are opened in the order of their numbers


def test_few_shards_are_held_open(shards: Path, monkeypatch: pytest.MonkeyPatch):
    manifest = Manifest.open(shards)
    monkeypatch.setattr(read, "most_shards_of_a_batch", lambda: 1)
    first, last = int(manifest.shard.argmin()), int(manifest.shard.argmax())
    assert manifest.shard[first] != manifest.shard[last]
    reader = ClipReader(manifest)
    assert rows_left(reader, [last, first, last], [4000] * 3, [90] * 3) == [0, 2]
    assert set(reader._shards._open) == {manifest.shard[first], manifest.shard[last]}  # no row waits for a download


def test_shards_stay_open_while_rows_are_read(shards: Path):
    manifest = Manifest.open(shards)
    reader = ClipReader(manifest)
    rows = reader.direct_rows(np.array([0]), np.array([4000]), np.array([90]))
    reader.close()
    assert rows is not None
    assert rows.read_row(0, np.empty(90, np.int16))
    assert rows_left(reader, [0], [4000], [90]) == [0]  # a closed reader opens none


def test_errors_of_the_system_leave_a_row(tmp_path: Path):
    """A file that is not open, and one that ends too early; the row after them is read."""
    path = tmp_path / "file"
    np.arange(100, dtype=np.int16).tofile(path)
    out, is_read = np.full((3, 12), MARK, np.int16), np.empty(3, np.bool_)
    with path.open("rb") as file:
        number = file.fileno()
        places = [[2**30, 0, 0, 10, 0], [number, 190, 0, 10, 0], [number, 20, 0, 10, 0]]
        numba_read.read_rows(0, np.array(places), out, is_read)
    assert is_read.tolist() == [False, False, True]
    assert (out[0] == MARK).all()
    assert out[2].tolist() == [*range(10, 20), MARK, MARK]


@pytest.mark.parametrize("path", ["numba", "torch"])
@pytest.mark.parametrize("fault", ["no pread", "every row fails"])
def test_batches_are_the_same_without_the_kernel(path: str, fault: str, shards: Path, monkeypatch: pytest.MonkeyPatch):
    def batch() -> np.ndarray:
        with force(path), Loader(shards, augment=recipe("study"), batch_size=5, num_workers=0) as loader:
            return next(iter(loader)).features.numpy()

    read_rows: list[bool] = []
    for name in ("read_row", "read_rows"):
        method = getattr(direct.DirectRows, name)
        monkeypatch.setattr(direct.DirectRows, name, lambda *a, method=method: read_rows.append(True) or method(*a))
    expected = batch()
    assert read_rows
    read_rows.clear()
    if fault == "no pread":
        monkeypatch.setattr(numba_read, "can_read", lambda: False)
    else:
        monkeypatch.setattr(direct.DirectRows, "read_row", lambda *arguments: False)
        monkeypatch.setattr(direct.DirectRows, "read_rows", lambda rows, first, out: [*range(first, first + len(out))])
    np.testing.assert_array_equal(batch(), expected)
    assert not read_rows


def test_numba_may_be_missing(shards: Path):
    with without_numba():
        assert not direct.can_read_directly()
        one = np.ones(1, int)
        assert ClipReader(Manifest.open(shards)).direct_rows(one, one, one) is None


def test_pread_is_looked_for(monkeypatch: pytest.MonkeyPatch):
    assert numba_read.can_read()
    for owner, name, value in ((sys, "maxsize", 2**31 - 1), (numba.config, "DISABLE_JIT", 1), (os, "pread", None)):
        with monkeypatch.context() as patch:
            patch.delattr(owner, name) if value is None else patch.setattr(owner, name, value)
            assert not numba_read.can_read()


@pytest.mark.parametrize(("limit", "expected"), [(1024, 64), (8, 1), (10**6, 256), (-1, 256)])
def test_shards_held_open_are_a_part_of_the_files_that_may_be_open(
    limit: int, expected: int, monkeypatch: pytest.MonkeyPatch
):
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit, limit))
    assert direct.most_shards_of_a_batch.__wrapped__() == expected


def test_the_library_works_without_numbas_compiler(shards: Path):
    program = "import sys; from gtzan_stream.loader import Loader; next(iter(Loader(sys.argv[1], num_workers=0)))"
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-c", program.replace("Loader(sys", "Loader(features=LogMel(frames=2), shards=sys")]
    command[2] = "from gtzan_stream.features import LogMel; " + command[2]
    subprocess.run([*command, str(shards)], env=environment, check=True, timeout=200)
