def describe_transform(a):
    assert isinstance(a, str)
    return a


def build_transform(d, allow=()):
    from gtzan_stream.augment.recipes import recipe

    return recipe(d)


def describe_features(f):
    g = f.geometry
    return {"class": type(f).__name__, "sample_rate": g.sample_rate}


def build_features(d, allow=()):
    from gtzan_stream.features import LogMel, RawWaveform

    return {"LogMel": LogMel, "RawWaveform": RawWaveform}[d["class"]](sample_rate=d["sample_rate"])
