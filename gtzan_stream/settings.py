"""The features' settings that command lines take: their types and words, for train.py and `gtzan-stream preview`."""

FEATURE_SETTINGS: dict[str, tuple[type, str]] = {
    "sample_rate": (int, "Hz of the features; clips of other rates are resampled. (default: the shards')"),
    "n_fft": (int, "Samples of a frame, even. (default: 46 ms, 1024 at 22,050 Hz)"),
    "hop_length": (int, "Samples from one frame to the next. (default: half a frame)"),
    "n_mels": (int, "Mel bands. (default: 128)"),
    "f_min": (float, "Lowest frequency in Hz. (default: 0)"),
    "f_max": (float, "Highest frequency in Hz. (default: half the sample rate, 11,025 at most)"),
    "frames": (int, "Frames of a crop; samples, of a waveform. (default: the network's, mostly 128)"),
}


def help_of(setting: str) -> str:
    """What a setting of features is, in words."""
    return FEATURE_SETTINGS[setting][1]


def option_name(option: str) -> str:
    """The name of an option on the command line: ``--batch-size`` for ``batch_size``."""
    return "--" + option.replace("_", "-")


def format_options(settings: dict[str, int]) -> str:
    """Settings as they are written on a command line: ``--hop-length 50 --frames 64``."""
    return " ".join(f"{option_name(name)} {value}" for name, value in settings.items())


def format_arguments(settings: dict[str, int]) -> str:
    """Settings as they are written in Python: ``hop_length=50, frames=64``."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())
