"""Damaged audio files give samples or a ValueError, and never take unbounded memory."""

import random
from contextlib import suppress

import numpy as np
import pytest

from gtzan_stream import audio
from tests.audio_files import encoded, mp3, tone, without_tag
from tests.test_audio_ffmpeg import encode

N = 6000
FILES = {
    f"{format} {subtype}": encoded(tone(N), format, subtype)
    for format, subtype in (
        ("WAV", "PCM_16"),
        ("WAV", "IMA_ADPCM"),
        ("RF64", "PCM_16"),
        ("W64", "FLOAT"),
        ("AU", "PCM_16"),
        ("AIFF", "PCM_24"),
        ("CAF", "ALAC_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
    )
}
FILES |= {"MP3": mp3(samples=tone(N)), "MP3 without a tag": without_tag(mp3(samples=tone(N)))}


@pytest.mark.parametrize("name", [*FILES, "m4a"])
def test_flipped_bytes_give_samples_or_a_value_error(name: str):
    data = FILES.get(name) or encode("ipod", "aac")
    rng = random.Random(0)
    for case in range(120):
        damaged = bytearray(data)
        reach = 200 if case % 2 else len(data)  # half of the flips hit the short headers, which matter most
        for _ in range(rng.choice((1, 1, 4))):
            damaged[rng.randrange(min(reach, len(data)))] ^= 1 << rng.randrange(8)
        if case % 10 == 0:
            del damaged[rng.randrange(len(damaged)) :]
        with suppress(ValueError):
            pcm = audio.decode_pcm16(bytes(damaged), sample_rate=22050)
            assert pcm.samples.dtype == np.int16
            assert len(pcm.samples) < 100 * 22050
