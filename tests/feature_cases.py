"""Every feature of the registry, and a trained one, for the tests that hold for all of them."""

from gtzan_stream.features import REGISTRY, LogMel

FEATURES = {**{name: make() for name, make in REGISTRY.items()}, "trained": LogMel(trainable=True)}
