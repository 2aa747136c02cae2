"""Keys: unique, readable, and never given to another clip when files are added."""

from hashlib import blake2b
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtzan_stream.store.keys import KeyParts, printable, unique_keys


def keys_of(paths: list[str], depth: int = 1) -> dict[str, str]:
    """Return the keys by path, for clips with the folder of level `depth` as their label."""
    return dict(
        zip(paths, unique_keys([KeyParts(p, depth, PurePosixPath(p).parts[depth - 1]) for p in paths]), strict=True)
    )


ALONE = {
    "blues/blues.00000.wav": "blues_00000",
    "blues/blues00000.wav": "blues00000",
    "Blues/blues.00000.au": "blues_00000",
    "pop/popular song.wav": "pop_popular_song",
    "pop/pop-song.wav": "pop-song",
    "pop/pop.wav": "pop",
    "hip hop/hip hop - 1.mp3": "hip_hop_-_1",
    "hip hop/hip_hop.1.mp3": "hip_hop_1",
    "rock/Ann/Live at Home/01. Intro.flac": "rock_Ann_Live_at_Home_01__Intro",
    "rock/rock band/1.wav": "rock_band_1",
    "001 - Dog bark/1-30226-A.ogg": "001_-_Dog_bark_1-30226-A",
    "1/10_ann_0.wav": "1_10_ann_0",
    "1/1_ann_0.wav": "1_ann_0",
    "rock/a\tb\n.wav": "rock_a%09b%0A",
    "rock/caf\udce9.wav": "rock_caf%E9",
    "rock/cafe\u0301.wav": "rock_caf\u00e9",
}


@pytest.mark.parametrize(("path", "key"), ALONE.items(), ids=map(ascii, ALONE))
def test_a_key_is_the_label_and_the_path_below_it(path: str, key: str) -> None:
    assert keys_of([path]) == {path: key}


def test_folders_above_the_label_are_not_in_the_key() -> None:
    assert keys_of(["Data/original/jazz/jazz.00001.wav"], depth=3) == {
        "Data/original/jazz/jazz.00001.wav": "jazz_00001"
    }


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (1, {"rock/x.mp3": "rock_x_mp3", "rock/x.WAV": "rock_x_wav", "rock/y.wav": "rock_y"}),
        (2, {"train/rock/1.wav": "rock_1_train", "test/rock/1.wav": "rock_1_test", "test/rock/2.wav": "rock_2"}),
        (2, {"Ann/Hits/01.mp3": "Hits_01_Ann", "Bob/Hits/01.mp3": "Hits_01_Bob"}),
        (2, {"a/rock/1.mp3": "rock_1_a_mp3", "a/rock/1.wav": "rock_1_a_wav", "b/rock/1.wav": "rock_1_b"}),
        (1, {"rock/A.mp3": "rock_A_mp3", "rock/a.wav": "rock_a_wav"}),  # keys must differ even if case is ignored
    ],
)
def test_all_clips_with_the_same_short_key_get_longer_ones(depth: int, expected: dict[str, str]) -> None:
    assert keys_of(list(expected), depth) == expected


def test_a_hash_is_the_last_way_to_extend_a_key() -> None:
    paths = ["rock/a.b.wav", "rock/a_b.wav"]
    hashes = [blake2b(path.encode(), digest_size=4).hexdigest() for path in paths]
    assert list(keys_of(paths).values()) == [f"rock_a_b_wav_{digest}" for digest in hashes]


def test_longer_keys_that_collide_are_extended_again() -> None:
    keys = keys_of(["rock/x.mp3", "rock/x.wav", "rock/x_mp3.ogg"])
    assert keys["rock/x.wav"] == "rock_x_wav"
    assert keys["rock/x_mp3.ogg"] == "rock_x_mp3_ogg"
    assert keys["rock/x.mp3"].startswith("rock_x_mp3_")
    taken = keys["rock/x.mp3"]
    again = keys_of(["rock/x.mp3", "rock/x.wav", "rock/x_mp3.ogg", f"rock/{taken}.wav"])
    assert len(set(again.values())) == 4
    assert taken not in again.values()


def test_names_that_differ_only_in_their_unicode_form_get_two_keys() -> None:
    keys = keys_of(["rock/caf\u00e9.wav", "rock/cafe\u0301.wav"])
    assert len(set(keys.values())) == 2


names = st.sampled_from(
    ["a", "A", "a.b", "a_b", "a b", "rock", "rock a", "x", "x_mp3", "x_wav", "x_a", "a_rock", "a_wav"]
)
folders = st.sampled_from(["rock", "a", "x", "rock a"])
extensions = st.sampled_from([".mp3", ".wav", ".WAV"])
paths = st.builds(
    lambda above, below, name, extension: "/".join([*above, *below, name + extension]),
    st.lists(folders, min_size=2, max_size=2),
    st.lists(folders, max_size=1),
    names,
    extensions,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(paths, min_size=2, max_size=25, unique=True), st.randoms())
def test_an_added_file_never_takes_the_key_of_another_clip(clips: list[str], random) -> None:
    before, after = keys_of(clips[1:], depth=2), keys_of(clips, depth=2)
    assert len({key.casefold() for key in after.values()}) == len(clips)
    assert not [key for key in after.values() if set("./ ") & set(key)]
    owner = {key: path for path, key in after.items()}
    for path, key in before.items():
        assert owner.get(key, path) == path, "an old key went to another clip"
        assert after[path] == key or after[path].startswith(f"{key}_"), "a key may only be extended"
    shuffled = random.sample(clips, len(clips))
    assert keys_of(shuffled, depth=2) == after, "the order of the files does not matter"


def test_names_are_made_printable() -> None:
    assert printable("a\u202eb\x1b[31m\udcff") == "a%E2%80%AEb%1B[31m%FF"
    assert printable("plain name.wav") == "plain name.wav"
