"""Formats that need the extra `av` (m4a, aac, wma and videos), and the error without it."""

import io
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from gtzan_stream import audio
from tests.audio_files import tone
from tests.conftest import need

RATE = 44100
N = 88200


def encode(
    container: str,
    codec: str,
    sample_format: str = "fltp",
    *,
    channels: int = 1,
    starts_quiet: bool = False,
    video: bool = False,
    n_pictures: int = 50,
    title: str = "",
) -> bytes:
    """Encode two seconds of a tone with FFmpeg; `starts_quiet` silences all but the last half second."""
    av = need("av")
    samples = np.stack([tone(N, rate=RATE) * (channel == 0) for channel in range(channels)]).astype(np.float32)
    if starts_quiet:
        samples[:, : N * 3 // 4] = 0
    layout = "mono" if channels == 1 else "stereo"
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        if title:
            out.metadata["title"] = title
        picture = _picture(out) if video else None
        stream = out.add_stream(codec, rate=RATE, layout=layout, bit_rate=128_000)
        sample_format = (
            stream.codec_context.format.name
            if stream.codec_context.format
            else stream.codec_context.codec.audio_formats[0].name
        )
        stream.codec_context.format = sample_format
        for _ in range(n_pictures if picture else 0):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            out.mux(picture.encode(frame))
        if picture:
            out.mux(picture.encode(None))
        resampler = av.AudioResampler(format=sample_format, layout=layout, rate=RATE)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        parts = [*resampler.resample(frame), None]
        out.mux([packet for part in parts for packet in stream.encode(part)])
    return file.getvalue()


def _picture(out: Any) -> Any:
    picture = out.add_stream("mpeg4", rate=25)
    picture.width = picture.height = 64
    picture.pix_fmt = "yuv420p"
    return picture


SOUNDS: dict[str, dict[str, Any]] = {
    "m4a": {"container": "ipod", "codec": "aac"},
    "alac": {"container": "ipod", "codec": "alac", "sample_format": "s16p"},
    "aac": {"container": "adts", "codec": "aac"},
    "wma": {"container": "asf", "codec": "wmav2", "channels": 2},
    "mka": {"container": "matroska", "codec": "flac", "sample_format": "s16"},
    "wv": {"container": "wv", "codec": "wavpack"},
    "ac3": {"container": "ac3", "codec": "ac3"},
    "mp4": {"container": "mp4", "codec": "aac", "video": True},
    "avi": {"container": "avi", "codec": "mp2", "sample_format": "s16", "video": True},
}
LOSSLESS = {"alac", "mka"}


@pytest.mark.parametrize("name", SOUNDS)
def test_formats_of_ffmpeg_are_decoded(name: str):
    data = encode(**SOUNDS[name])
    waveform, rate = audio.decode(data)
    assert rate == RATE
    pcm = audio.decode_pcm16(data)
    assert (pcm.damage, pcm.n_clipped, len(pcm.samples)) == ("", 0, len(waveform))
    assert N <= len(waveform) <= N + 4096 or name == "wma"  # the wma encoder drops its first block
    if name in LOSSLESS:
        np.testing.assert_allclose(waveform, tone(N, rate=RATE), atol=1e-4)
    spectrum = np.abs(np.fft.rfft(waveform[: N // 2]))
    assert spectrum.argmax() == 440  # one second, so bins of 1 Hz
    expected = 0.15 if SOUNDS[name].get("channels") == 2 else 0.3  # the other channel is silent
    assert 2 * spectrum.max() / (N // 2) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("name", ["aac", "mka", "ac3"])
def test_a_truncated_file_is_reported(name: str):
    data = encode(**SOUNDS[name])
    if name == "ac3":  # no header states a length, so missing data cannot be noticed
        assert 0 < len(audio.decode(data[: len(data) // 2])[0]) < N
        return
    pcm = audio.decode_pcm16(data[: len(data) // 2])
    assert 0 < len(pcm.samples) < N * 0.8
    assert "breaks off after" in pcm.damage or "before the length that its header states" in pcm.damage


def test_an_m4a_without_its_index_cannot_be_read():
    data = encode(**SOUNDS["m4a"])
    with pytest.raises(ValueError, match="neither soundfile nor FFmpeg can decode it"):
        audio.decode(data[: len(data) // 2])


def test_a_video_without_sound_is_an_error():
    av = need("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        picture = _picture(out)
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        out.mux([packet for part in (frame, None) for packet in picture.encode(part)])
    with pytest.raises(ValueError, match="it has no sound"):
        audio.decode(file.getvalue())


@pytest.mark.parametrize("name", ["m4a", "aac", "mka", "wv", "avi"])
def test_without_av_the_error_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch):
    data = encode(**SOUNDS[name])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"needs the extra av: pip install 'gtzan-stream\[av\]'"):
        audio.decode(data)
    with pytest.raises(ValueError, match=r"^soundfile cannot decode it: Format not recognised$"):
        audio.decode(b"no sound at all" * 30)


def test_a_playlist_does_not_open_other_files(tmp_path: Any):
    """FFmpeg would read the files that a playlist names, so formats of playlists are not allowed."""
    need("av")
    (tmp_path / "song.ts").write_bytes(encode("mpegts", "aac"))
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{tmp_path}/song.ts\n#EXT-X-ENDLIST\n"
    for text in (playlist, f"ffconcat version 1.0\nfile {tmp_path}/song.ts\n"):
        with pytest.raises(ValueError, match="neither soundfile nor FFmpeg can decode it"):
            audio.decode(text.encode())


def test_lengths_that_ffmpeg_guesses_are_not_damage():
    """ADTS has no length, so FFmpeg guesses it from the bit rate at the quiet start. A video may outlast its sound."""
    av = need("av")
    adts = encode("adts", "aac", starts_quiet=True)
    with av.open(io.BytesIO(adts)) as file:
        assert file.duration / av.time_base > 2 * N / RATE
    assert audio.decode_pcm16(adts).damage == ""
    for container in ("matroska", "avi"):
        assert audio.decode_pcm16(encode(container, "mp2", "s16", video=True, n_pictures=200)).damage == ""


def test_mp3_in_wav_has_no_stated_length():
    pcm = audio.decode_pcm16(encode("wav", "libmp3lame"))
    assert N <= len(pcm.samples) < N + 3000
    assert pcm.damage == ""


def test_tags_that_are_not_utf8_do_not_prevent_decoding():
    data = encode("matroska", "flac", "s16", title="Cafe Muller").replace(b"Cafe Muller", b"Caf\xe9 M\xfcller")
    assert b"Caf\xe9" in data
    assert len(audio.decode(data)[0]) == N
