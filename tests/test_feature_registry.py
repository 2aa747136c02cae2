"""Properties of every feature of the registry, and the errors for objects that are not features."""

import pytest
import torch
from torch import Tensor, nn

from gtzan_stream.errors import UserError
from gtzan_stream.features import REGISTRY, Frames, LogMel, RawWaveform, build, check, n_rows, whole_clips
from gtzan_stream.geometry import Geometry
from tests.augment_cases import music
from tests.conftest import need

assert REGISTRY
ALL = pytest.mark.parametrize("name", REGISTRY)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def waveform() -> Tensor:
    """Two rows of chords, clicks and hiss, 4 s."""
    return music(2, 88_200)


def small(name: str) -> nn.Module:
    """Build the feature with crops of 5 frames."""
    return build(name, frames=5)


def relative(got: Tensor, reference: Tensor) -> float:
    return float((got.double() - reference.double()).norm() / reference.double().norm())


@ALL
def test_a_crop_has_as_many_frames_as_its_geometry_says(name: str) -> None:
    for features in (build(name), small(name)):
        geometry = features.geometry
        out = features(torch.zeros(2, geometry.read_length))
        assert out.shape == (2, n_rows(features, CPU), geometry.frames)
        assert out.dtype == torch.float32
    assert small(name).geometry.frames == 5


@ALL
@pytest.mark.parametrize("extra", [0, 1, 7, 700])
def test_a_clip_has_as_many_frames_as_its_geometry_says(name: str, extra: int, waveform: Tensor) -> None:
    features = small(name)
    for n_samples in (features.geometry.frame_length + extra, 3 * features.geometry.step + extra, 1 + extra):
        clip = waveform[:, :n_samples]
        assert whole_clips(features, clip).shape[2] == features.geometry.frames_in(n_samples)


@ALL
@pytest.mark.parametrize("first", [0, 1, 7, 40])
def test_a_crop_is_a_piece_of_its_clip(name: str, first: int, waveform: Tensor) -> None:
    features, geometry = small(name), small(name).geometry
    padded = torch.nn.functional.pad(waveform, (geometry.context, 0))
    start = first * geometry.step
    crop = features(padded[:, start : start + geometry.read_length])
    whole = whole_clips(features, waveform)[:, :, first : first + geometry.frames]
    near_the_start = (
        0 if start >= geometry.context else geometry.context // geometry.step + 1
    )  # padded with zeros instead of reflected
    assert relative(crop[:, :, near_the_start:], whole[:, :, near_the_start:]) < 1e-6


@ALL
def test_silence_has_the_value_that_the_geometry_states(name: str) -> None:
    features = small(name)
    out = features(torch.zeros(1, features.geometry.read_length))
    torch.testing.assert_close(out, torch.full_like(out, features.geometry.silence), rtol=1e-5, atol=1e-5)


@ALL
def test_a_row_does_not_depend_on_its_batch(name: str, waveform: Tensor) -> None:
    features = small(name)
    batch = torch.cat([waveform, waveform.flip(1), 0.1 * waveform])[:, : features.geometry.read_length]
    together = features(batch)
    for i in range(len(batch)):
        assert torch.equal(features(batch[i : i + 1])[0], together[i])


@ALL
def test_the_input_is_untouched_and_may_be_a_view(name: str, waveform: Tensor) -> None:
    features = small(name)
    before = waveform.clone()
    out = features(waveform[:, ::2])
    assert torch.equal(out, features(waveform[:, ::2].contiguous()))
    assert torch.equal(waveform, before)


@ALL
def test_inference_mode_and_another_default_dtype_change_nothing(
    name: str, waveform: Tensor, float64_by_default: None
) -> None:
    wide = small(name)(waveform)
    torch.set_default_dtype(torch.float32)
    features = small(name)
    assert wide.dtype == torch.float32
    assert torch.equal(wide, features(waveform))
    with torch.inference_mode():
        assert torch.equal(features(waveform.clone()), wide)


@ALL
def test_gradients_through_silence_are_finite(name: str, waveform: Tensor) -> None:
    leaf = waveform[:, : small(name).geometry.read_length].clone()
    leaf[0] = 0
    leaf.requires_grad_()
    small(name)(leaf).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


@ALL
@pytest.mark.parametrize("setting", ["sample_rate", "frames"])
def test_settings_out_of_range_are_refused(name: str, setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} must be at least 1, got 0"):
        build(name, **{setting: 0})


# --- single features --------------------------------------------------------------------------------------------------


def test_raw_waveform(waveform):
    raw = RawWaveform(frames=1000)
    assert raw.geometry == Geometry(sample_rate=22050, frame_length=1, step=1, context=0, frames=1000, grid=512)
    assert raw.geometry.read_length == raw.geometry.stride == 1000
    assert torch.equal(raw(waveform)[:, 0], waveform)


def test_frames_are_the_input_of_each_spectrogram_frame(waveform):
    frames, features = (
        Frames(n_fft=512, hop_length=256, frames=8),
        LogMel(n_fft=512, hop_length=256, frames=8, n_mels=40),
    )
    assert frames.geometry == features.geometry
    chunk = waveform[:, : features.geometry.read_length]
    got = frames(chunk)  # [batch, sample, frame]
    assert got.shape == (2, 512, 8)
    assert torch.equal(got[0, :, 3], chunk[0, 768 : 768 + 512])
    one_by_one = features(got.transpose(1, 2).reshape(16, 512)).reshape(2, 8, 40)
    assert torch.equal(one_by_one.transpose(1, 2), features(chunk))


def test_whole_clips_give_frames_around_every_hop(waveform):
    frames, features = Frames(), LogMel(n_mels=40)
    got = whole_clips(frames, waveform)
    assert got.shape == (2, 1024, 1 + waveform.shape[1] // 512)
    assert relative(features(got[:1, :, 0]), whole_clips(features, waveform)[:1, :, :1]) < 1e-6


# --- objects that are not features ------------------------------------------------------------------------------------


def test_a_function_is_not_a_feature() -> None:
    with pytest.raises(
        UserError, match=r"expected an nn\.Module with a geometry, .* got function; .*subclass of nn\.Mod"
    ):
        check(lambda waveform: waveform)


def test_a_module_needs_a_geometry() -> None:
    identity = nn.Unflatten(1, (1, -1))
    with pytest.raises(
        UserError, match=r"Unflatten has no geometry; give it .*Geometry\.of_stft\(sample_rate=22050, n_fft"
    ):
        check(identity)
    identity.geometry = {"frames": 10}
    with pytest.raises(UserError, match="Unflatten has a geometry that is not a Geometry but dict"):
        check(identity)
    identity.geometry = RawWaveform(frames=10).geometry
    assert n_rows(check(identity), CPU) == 1


def test_a_spectrogram_of_another_library_needs_only_a_geometry() -> None:
    transforms = need("torchaudio.transforms")
    mel = transforms.MelSpectrogram(22050, n_fft=1024, hop_length=512, n_mels=40, center=False)
    mel.geometry = Geometry.of_stft(sample_rate=22050, n_fft=1024, hop_length=512, frames=128)
    assert n_rows(check(mel), CPU) == 40
    padding = transforms.MelSpectrogram(22050, n_fft=1024, hop_length=512, n_mels=40)
    padding.geometry = mel.geometry
    with pytest.raises(
        UserError, match=r"turns \[1, 66048\] samples into \[1, 40, 130\], .*\[1, rows, 128\]; .*center=F"
    ):
        n_rows(padding, CPU)


def test_a_feature_must_return_a_tensor() -> None:
    class Nothing(nn.Module):
        geometry = LogMel().geometry

        def forward(self, waveform: Tensor) -> None:
            return None

    with pytest.raises(UserError, match="Nothing should return a tensor, it returned NoneType"):
        n_rows(Nothing(), CPU)


def test_a_feature_must_keep_the_batch_size() -> None:
    class Doubled(nn.Module):
        geometry = RawWaveform(frames=10).geometry

        def forward(self, waveform: Tensor) -> Tensor:
            return waveform[:, None].repeat(2, 1, 1)

    with pytest.raises(UserError, match=r"turns \[1, 10\] samples into \[2, 1, 10\]"):
        n_rows(Doubled(), CPU)
