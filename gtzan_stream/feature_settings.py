"""Types and help texts of the feature settings that train.py and `gtzan-stream preview` have as options."""

FEATURE_SETTINGS: dict[str, tuple[type, str]] = {
    "sample_rate": (int, "Sample rate of the features in Hz; other clips are resampled. (default: the shards')"),
    "n_fft": (int, "Samples in a frame, an even number. (default: 46 ms, 1024 at 22,050 Hz)"),
    "hop_length": (int, "Samples from one frame to the next. (default: half a frame)"),
    "n_mels": (int, "Number of mel bands. (default: 128)"),
    "f_min": (float, "Lowest frequency in Hz. (default: 0)"),
    "f_max": (float, "Highest frequency in Hz. (default: half the sample rate, but at most 11,025)"),
    "frames": (int, "Frames in a crop, or samples if features are waveforms. (default: by network, mostly 128)"),
}


def help_of(setting: str) -> str:
    """Return the help text of a setting."""
    return FEATURE_SETTINGS[setting][1]


def option_name(setting: str) -> str:
    """Return a setting's option on the command line: ``--batch-size`` for ``batch_size``."""
    return "--" + setting.replace("_", "-")


def format_options(settings: dict[str, int]) -> str:
    """Write settings as on a command line: ``--hop-length 50 --frames 64``."""
    return " ".join(f"{option_name(name)} {value}" for name, value in settings.items())


def format_arguments(settings: dict[str, int]) -> str:
    """Write settings as in a Python call: ``hop_length=50, frames=64``."""
    return ", ".join(f"{name}={value}" for name, value in settings.items())
