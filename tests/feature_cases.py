"""Every feature of the registry and a trainable LogMel, for tests that apply to all features."""

from gtzan_stream.features import REGISTRY, LogMel

FEATURES = {**{name: make() for name, make in REGISTRY.items()}, "trained": LogMel(trainable=True)}
