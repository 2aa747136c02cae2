"""Log-mel features compared with nnAudio and librosa, and chunks compared with whole clips."""

import sys
from importlib import import_module
from importlib.util import find_spec

import librosa
import numpy as np
import pytest
import torch

from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.pcm import to_float32
from gtzan_stream.features import LogMel, mel_basis, whole_clips
from tests.conftest import need, no_synchronisation


@pytest.fixture(scope="module")
def waveform() -> torch.Tensor:
    """Two rows of brown noise and a tone, 4 s."""
    rng = np.random.default_rng(0)
    t = np.arange(88_200) / 22050
    rows = [np.cumsum(rng.standard_normal(len(t))) * 0.003 + 0.2 * np.sin(2 * np.pi * f * t) for f in (220, 3000)]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def relative(got: torch.Tensor, reference: torch.Tensor) -> float:
    return float((got.double() - reference.double()).norm() / reference.double().norm())


def nnaudio_mel(waveform: torch.Tensor, **options: float) -> torch.Tensor:
    """Compute nnAudio's own mel spectrogram, with its own padding."""
    settings = {"sr": 22050, "n_fft": 1024, "hop_length": 512, "n_mels": 128, "power": 1.0, **options}
    package = "nnAudio" if find_spec("nnAudio") else "nnAudio2"
    module = import_module(f"{package}.features.mel")
    return module.MelSpectrogram(**settings, pad_mode="reflect", verbose=False)(waveform)


@pytest.mark.parametrize("name", ["torch", "numba"])
@pytest.mark.parametrize("power", [1.0, 2.0, 1.5])
def test_equals_nnaudio(waveform, name, power):
    reference = torch.log10(1 + 10 * nnaudio_mel(waveform, power=power))
    with force(name):
        got = whole_clips(LogMel(power=power), waveform)
    assert got.shape == (2, 128, 1 + 88_200 // 512)
    assert got.dtype == torch.float32
    assert relative(got, reference) < 1e-5
    assert (got - reference).abs().max() < 1e-4 * reference.max()


def test_other_settings_equal_nnaudio(waveform):
    features = LogMel(n_fft=2048, hop_length=300, n_mels=40, f_min=50.0, f_max=8000.0, compression="db")
    mel = nnaudio_mel(waveform, n_fft=2048, hop_length=300, n_mels=40, fmin=50.0, fmax=8000.0)
    assert relative(whole_clips(features, waveform), 20 * mel.log10()) < 1e-5


@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
def test_equals_librosa_padded_by_reflection_only(waveform, pad_mode):
    mel = librosa.feature.melspectrogram(
        y=waveform.numpy(), sr=22050, n_fft=1024, hop_length=512, n_mels=128, power=1.0, pad_mode=pad_mode
    )
    reference = torch.from_numpy(np.log10(1 + 10 * mel))
    got = whole_clips(LogMel(), waveform)
    assert relative(got[:, :, 1:-2], reference[:, :, 1:-2]) < 5e-6
    edges = relative(got[:, :, [0, -1]], reference[:, :, [0, -1]])
    assert edges < 5e-6 if pad_mode == "reflect" else edges > 1e-2


@pytest.mark.parametrize(("power", "to_db"), [(1.0, librosa.amplitude_to_db), (2.0, librosa.power_to_db)])
def test_decibels_equal_those_of_librosa(waveform, power, to_db):
    noise = torch.randn(waveform.shape, generator=torch.Generator().manual_seed(0))
    loud_to_nothing = noise * torch.logspace(0, -9, waveform.shape[1])
    mel = librosa.feature.melspectrogram(
        y=loud_to_nothing.numpy(), n_fft=1024, hop_length=512, power=power, pad_mode="reflect"
    )
    got = whole_clips(LogMel(power=power, compression="db"), loud_to_nothing)
    assert np.abs(got.numpy() - to_db(mel, ref=1.0, top_db=None)).max() < 1e-2
    silence = whole_clips(LogMel(power=power, compression="db"), torch.zeros(1, 5000))
    assert silence.mean().item() == pytest.approx(LogMel(power=power, compression="db").geometry.silence) == -100


@pytest.mark.parametrize("name", ["torch", "numba"])
def test_quiet_music_keeps_its_precision(waveform, name):
    """log10(1 + 10 m), computed literally, would be 0 or one unit in the last place in float32."""
    with force(name):
        got = whole_clips(LogMel(), waveform * 1e-9)
    assert relative(got, whole_clips(LogMel(), waveform.double() * 1e-9)) < 1e-5


@pytest.mark.parametrize("name", ["torch", "numba"])
def test_silence_is_zero(name):
    with force(name):
        assert (whole_clips(LogMel(), torch.zeros(1, 3000)) == 0).all()


@pytest.mark.parametrize("first", [1, 7, 40])
def test_a_chunk_equals_those_frames_of_the_clip(waveform, first):
    features = LogMel(frames=32)
    geometry = features.geometry
    start = first * geometry.step - geometry.context
    chunk = features(waveform[:, start : start + geometry.read_length])
    assert chunk.shape == (2, 128, 32)
    assert relative(chunk, whole_clips(features, waveform)[:, :, first : first + 32]) < 1e-6


def test_a_row_does_not_depend_on_its_batch(waveform):
    batch = torch.cat([waveform, waveform.flip(1), waveform * 0.1])
    together = whole_clips(LogMel(), batch)
    for i in range(len(batch)):
        assert torch.equal(whole_clips(LogMel(), batch[i : i + 1])[0], together[i])


def test_input_is_untouched_and_may_be_a_view(waveform):
    wide = waveform.repeat(1, 2).clone()
    before = wide.clone()
    features = LogMel()
    assert torch.equal(features(wide[:, ::2]), features(wide[:, ::2].contiguous()))
    assert torch.equal(wide, before)


@pytest.mark.parametrize("time", [1, 2, 100, 512, 513, 600])
def test_short_clips_are_reflected_as_often_as_needed(waveform, time):
    short = waveform[:, :time]
    padded = torch.from_numpy(np.pad(short.numpy(), ((0, 0), (512, 512)), mode="reflect"))
    assert torch.equal(whole_clips(LogMel(), short), LogMel()(padded))


def test_features_are_float32_under_autocast_and_in_half_precision(waveform):
    features = LogMel(trainable=True)
    plain = whole_clips(features, waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = whole_clips(features, waveform)
    assert under_autocast.dtype == torch.float32
    assert torch.equal(under_autocast, plain)
    assert whole_clips(LogMel(), waveform.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("options", [{}, {"power": 2.0, "compression": "db"}], ids=str)
def test_trainable_kernels_learn(waveform, options):
    features = LogMel(trainable=True, **options)
    got = whole_clips(features, waveform)
    assert relative(got.detach(), whole_clips(LogMel(**options), waveform)) < 1e-3
    got.sum().backward()
    gradients = {name: parameter.grad for name, parameter in features.named_parameters()}
    assert len(gradients) == 3
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients.values())
    assert not list(LogMel().parameters())


def test_gradients_flow_to_the_waveform(waveform):
    leaf = waveform[:, :4096].clone().requires_grad_()
    LogMel()(leaf).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "options", [{}, {"power": 0.5}, {"power": 2.0}, {"compression": "db"}, {"trainable": True}], ids=str
)
def test_silence_has_finite_gradients_and_any_default_dtype_gives_float32(waveform, options, float64_by_default):
    short = waveform[:, :4096].clone()
    short[0] = 0
    got = LogMel(**options)(short)
    torch.set_default_dtype(torch.float32)
    features, leaf = LogMel(**options), short.requires_grad_()
    expected = features(leaf)
    assert got.dtype == torch.float32
    assert relative(got.detach(), expected.detach()) < 1e-6
    expected.sum().backward()
    assert leaf.grad.isfinite().all()


def test_fixed_features_are_not_in_checkpoints():
    assert not LogMel().state_dict()
    assert len(LogMel(trainable=True).state_dict()) == 4


def test_building_prints_nothing(capsys):
    LogMel()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rate": 0}, "sample_rate must be at least 1, got 0"),
        ({"n_fft": 1023}, "n_fft must be even"),
        ({"hop_length": 0}, "hop_length must be"),
        ({"n_mels": 0}, "n_mels must be"),
        ({"f_max": 12000.0}, r"f_min < f_max <= 11025 Hz, got 0 and 12000"),
        ({"f_min": 500.0, "f_max": 400.0}, "f_min < f_max"),
        ({"f_min": 400.0, "f_max": 400.0}, "f_min < f_max"),
        ({"f_min": -1.0}, "f_min < f_max"),
        ({"power": 0.0}, "power must be positive"),
        ({"frames": 0}, "frames must be"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LogMel(**options)


def test_a_waveform_shorter_than_one_frame_is_refused():
    with pytest.raises(ValueError, match="at least n_fft = 1024 samples, got 1000"):
        LogMel()(torch.zeros(1, 1000))
    with pytest.raises(ValueError, match="no samples"):
        whole_clips(LogMel(), torch.zeros(1, 0))


def test_nnaudio2_gives_the_same_features_where_nnaudio_is_not_installed(waveform, monkeypatch, capsys):
    need("nnAudio2")
    capsys.readouterr()
    settings = [{}, {"compression": "db", "n_mels": 40}, {"trainable": True}]
    expected = [whole_clips(LogMel(**options), waveform) for options in settings]
    for name in [name for name in sys.modules if name.split(".")[0] in ("nnAudio", "nnAudio2")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nnAudio", None)
    for options, features in zip(settings, expected, strict=True):
        assert torch.equal(whole_clips(LogMel(**options), waveform), features)
    assert "nnAudio2" in sys.modules
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_gpu_converts_samples_exactly_whatever_the_default_dtype(cuda, dtype):
    samples = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16)[None]
    expected = to_float32(samples)
    torch.set_default_dtype(dtype)
    try:
        got = to_float32(samples.to(cuda))
    finally:
        torch.set_default_dtype(torch.float32)
    assert got.dtype == torch.float32
    assert torch.equal(got.cpu(), expected)


@pytest.mark.parametrize("options", [{}, {"compression": "db"}, {"trainable": True}])
def test_cuda_equals_the_cpu_without_a_sync(cuda, waveform, options):
    features = LogMel(**options)
    expected = whole_clips(features, waveform)
    features, on_device = features.to(cuda), waveform.to(cuda)
    whole_clips(features, on_device)
    with no_synchronisation():
        got = whole_clips(features, on_device)
    assert relative(got.detach().cpu(), expected.detach()) < 1e-5


def test_nnaudio_is_imported_without_a_change_of_stdout(monkeypatch: pytest.MonkeyPatch):
    """Another thread may print meanwhile."""
    monkeypatch.delitem(sys.modules, "nnAudio2", raising=False)
    seen = []
    before = mel_basis.import_module
    monkeypatch.setattr(mel_basis, "import_module", lambda name: seen.append(sys.stdout) or before(name))
    LogMel()
    assert seen
    assert all(each is sys.stdout for each in seen)
