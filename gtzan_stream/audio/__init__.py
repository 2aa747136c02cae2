"""Audio files to mono waveforms and back: the only package that imports soundfile, soxr and PyAV."""

from gtzan_stream.audio.decode import AudioInfo, Pcm, check_samples, decode, decode_pcm16, info, read_segment
from gtzan_stream.audio.encode import CODECS, FULL_SCALE, encode, encode_float, quantise
from gtzan_stream.audio.ffmpeg import NeedsAv
from gtzan_stream.audio.formats import SUFFIXES, need_av
from gtzan_stream.audio.wav import wav_data

__all__ = [
    "CODECS",
    "FULL_SCALE",
    "SUFFIXES",
    "AudioInfo",
    "NeedsAv",
    "Pcm",
    "check_samples",
    "decode",
    "decode_pcm16",
    "encode",
    "encode_float",
    "info",
    "need_av",
    "quantise",
    "read_segment",
    "wav_data",
]
