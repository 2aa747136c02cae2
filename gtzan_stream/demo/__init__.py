"""The demo set: ten genres, synthesised in seconds, so that everything runs without a download."""

from gtzan_stream.demo.dataset import record, write

__all__ = ["record", "write"]
