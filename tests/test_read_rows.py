"""The rows of a batch read in one call equal those read one by one; what cannot be read so is left to `read`."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from gtzan_stream.augment import recipe
from gtzan_stream.dsp.backend import force
from gtzan_stream.kernels import numba_read
from gtzan_stream.loader import Loader
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.pack import pack
from gtzan_stream.store.read import ClipReader
from tests.conftest import without_numba, write_wav

MARK = 12345


def rows_of(manifest: Manifest, n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw clips, starts and lengths of segments inside their clips, some of them whole clips."""
    rng = np.random.default_rng(3)
    clips = rng.integers(0, len(manifest), n)
    lengths = np.minimum(rng.integers(1, 9000, n), manifest.frames[clips])
    starts = rng.integers(0, manifest.frames[clips] - lengths + 1)
    starts[:3], lengths[:3] = 0, manifest.frames[clips[:3]]
    return clips, starts, lengths


def test_rows_equal_those_read_one_by_one(shards: Path):
    manifest = Manifest.open(shards)
    clips, starts, lengths = rows_of(manifest)
    assert len(set(manifest.shard[clips])) > 1
    reader, out = ClipReader(manifest), np.full((len(clips), lengths.max() + 5), MARK, np.int16)
    left = reader.read_rows(clips, starts, lengths, out)
    assert len(left) < len(clips) / 10  # those with a zero at both ends and in the middle
    for row in sorted(set(range(len(clips))) - set(left)):
        expected = np.empty(lengths[row], np.int16)
        reader.read(int(clips[row]), int(starts[row]), expected)
        np.testing.assert_array_equal(out[row, : lengths[row]], expected)
        assert (out[row, lengths[row] :] == MARK).all()


def test_rows_beyond_a_clips_ends_are_left(shards: Path):
    manifest = Manifest.open(shards)
    frames = int(manifest.frames[0])
    starts, lengths = np.array([-1, 10, frames - 20, frames - 19, 7]), np.array([20, 20, 20, 20, 0])
    out = np.full((5, 20), MARK, np.int16)
    assert ClipReader(manifest).read_rows(np.zeros(5, int), starts, lengths, out).tolist() == [0, 3, 4]
    assert (out[[0, 3, 4]] == MARK).all()


def test_rows_that_may_be_holes_are_left(tmp_path: Path):
    samples = np.ones(1000, np.int16)
    samples[100:300] = 0
    write_wav(tmp_path / "clips" / "jazz" / "a.wav", samples)
    reader = ClipReader(pack(tmp_path / "clips", tmp_path / "shards"))
    starts, lengths = np.array([100, 99, 101, 0, 90]), np.array([200, 200, 200, 201, 40])
    assert reader.read_rows(np.zeros(5, int), starts, lengths, np.empty((5, 201), np.int16)).tolist() == [0]


def test_floats_and_members_to_decode_are_left(shards: Path, clips_folder: Path, tmp_path: Path):
    four = np.zeros(4, int)
    flac = ClipReader(pack(clips_folder, tmp_path, codec="flac"))
    assert flac.read_rows(four, four, four + 9, np.empty((4, 9), np.float32)).tolist() == [0, 1, 2, 3]
    assert flac.read_rows(four, four, four + 9, np.empty((4, 9), np.int16)).tolist() == [0, 1, 2, 3]
    direct = ClipReader(Manifest.open(shards))
    assert direct.read_rows(four, four, four + 9, np.empty((4, 9), np.float32)).tolist() == [0, 1, 2, 3]


def test_rows_of_a_truncated_shard_are_left(shards: Path, tmp_path: Path):
    """The rows of other shards, and those before the end of this one, are read."""
    copy = shutil.copytree(shards, tmp_path / "copy")
    manifest = Manifest.open(copy)
    shard = int(manifest.shard[0])
    last, other = np.flatnonzero(manifest.shard == shard)[-1], np.flatnonzero(manifest.shard != shard)[0]
    os.truncate(copy / manifest.shards[shard].name, int(manifest.data_offset[last]) + 2 * 5000)
    reader, out = ClipReader(manifest), np.empty((4, 1000), np.int16)
    clips, starts = np.array([last, last, other, last]), np.array([4000, 4001, 4000, 50_000])
    assert reader.read_rows(clips, starts, np.full(4, 1000), out).tolist() == [1, 3]


def test_rows_of_a_shard_that_cannot_be_opened_are_left(shards: Path, tmp_path: Path):
    copy = shutil.copytree(shards, tmp_path / "copy")
    manifest = Manifest.open(copy)
    first, last = int(manifest.shard.argmin()), int(manifest.shard.argmax())
    (copy / manifest.shards[int(manifest.shard[last])].name).unlink()
    clips, starts, lengths = np.array([last, first]), np.full(2, 4000), np.full(2, 90)
    left = ClipReader(manifest).read_rows(clips, starts, lengths, np.empty((2, 90), np.int16))
    assert left.tolist() == [0]  # shards are opened in the order of their numbers


def test_a_closed_reader_reads_no_rows(shards: Path):
    reader = ClipReader(Manifest.open(shards))
    reader.close()
    one = np.ones(1, int)
    assert reader.read_rows(one, one, one, np.empty((1, 1), np.int16)).tolist() == [0]


def test_errors_of_the_system_end_a_piece(tmp_path: Path):
    """A file that is not open, and one that ends too early; the pieces after them are read."""
    path = tmp_path / "file"
    np.arange(100, dtype=np.int16).tofile(path)
    out, n_read = np.full((3, 10), MARK, np.int16), np.empty(3, np.int64)
    with path.open("rb") as file:
        files = np.array([2**30, file.fileno(), file.fileno()], np.int32)
        numba_read.read_pieces(files, np.array([0, 190, 20]), np.full(3, 20), np.array([2, 1, 0]), out, n_read)
    assert n_read.tolist() == [0, 10, 20]
    assert (out[2] == MARK).all()
    assert out[1].tolist() == [95, 96, 97, 98, 99, *[MARK] * 5]
    assert out[0].tolist() == list(range(10, 20))


@pytest.mark.parametrize("missing", ["pread", "numba"])
def test_batches_are_the_same_without_the_kernel(missing: str, shards: Path, monkeypatch: pytest.MonkeyPatch):
    def batch() -> np.ndarray:
        with force("torch"), Loader(shards, augment=recipe("study"), batch_size=40, num_workers=0) as loader:
            return next(iter(loader)).features.numpy()

    sizes: list[int] = []
    kernel = numba_read.read_pieces

    def read_pieces(files: np.ndarray, *arguments: np.ndarray) -> None:
        sizes.append(len(files))
        kernel(files, *arguments)

    monkeypatch.setattr(numba_read, "read_pieces", read_pieces)
    expected = batch()
    assert sum(sizes) > 10
    sizes.clear()
    if missing == "pread":
        monkeypatch.setattr(numba_read, "can_read", lambda: False)
        np.testing.assert_array_equal(batch(), expected)
    else:
        with without_numba():
            np.testing.assert_allclose(batch(), expected, atol=1e-4)
    assert not sizes


def test_pread_is_looked_for(monkeypatch: pytest.MonkeyPatch):
    assert numba_read.can_read()
    monkeypatch.setattr(numba_read.sys, "maxsize", 2**31 - 1)
    assert not numba_read.can_read()
