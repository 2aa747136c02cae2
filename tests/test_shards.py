"""Clips are assigned to shards of similar labels and sizes, and samples are located in their file."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gtzan_stream import audio
from gtzan_stream.audio import Pcm
from gtzan_stream.store.shards import assign_shards, locate_samples
from tests.audio_files import encoded


@given(
    clips=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5000)), min_size=1, max_size=40),
    shard_bytes=st.integers(1, 20_000),
)
@example(clips=[("a", 1), ("a", 100), ("b", 1), ("b", 100)], shard_bytes=101)
def test_shards_are_balanced_in_label_and_size(clips: list[tuple[str, int]], shard_bytes: int):
    """Shards differ by one clip of a label at most, and in size by one clip at most."""
    labels, sizes = [label for label, _ in clips], [size for _, size in clips]
    shards = assign_shards(labels, sizes, shard_bytes)
    assert len(shards) == min(len(clips), -(-sum(sizes) // shard_bytes))
    assert sorted(clip for shard in shards for clip in shard) == list(range(len(clips)))
    for label in set(labels):
        counts = [sum(labels[clip] == label for clip in shard) for shard in shards]
        assert max(counts) - min(counts) <= 1
    filled = [sum(sizes[clip] for clip in shard) for shard in shards]
    assert max(filled) - min(filled) <= max(sizes)


def test_no_shard_is_empty():
    assert assign_shards(["a", "a"], [100, 100], shard_bytes=1) == [[0], [1]]
    assert assign_shards(["a"], [0], shard_bytes=1) == [[0]]


@pytest.mark.parametrize(("format", "encoding"), [("WAV", "pcm16"), ("FLAC", "flac")])
def test_samples_are_not_located_in_a_file_that_decodes_only_in_part(format: str, encoding: str):
    """To read a segment of such a file, all of it is decoded."""
    samples = np.arange(-1000, 1000, dtype=np.int16)
    data = encoded(samples, format, "PCM_16")
    header = audio.info(data)
    start = len(data) - 4000 if format == "WAV" else 0
    assert (
        locate_samples(data)
        == locate_samples(data, Pcm(samples, 22050, 0, header))
        == (start, len(data) - start, encoding)
    )
    whole = "wav" if format == "WAV" else "flac (whole)"
    assert locate_samples(data, Pcm(samples[:-1], 22050, 0, header)) == (0, len(data), whole)
    if format == "FLAC":
        assert locate_samples(data, Pcm(samples, 22050, 0, header, "it breaks off")) == (0, len(data), whole)
