"""The demo set: ten genres, synthesised in seconds, so that everything runs without a download."""

from gtzan_stream.demo.dataset import synthesise, write

__all__ = ["synthesise", "write"]
