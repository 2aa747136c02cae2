"""The short-time Fourier transform and its inverse, compared with librosa."""

import librosa
import numpy as np
import pytest
import torch

from gtzan_stream.dsp.backend import force
from gtzan_stream.dsp.stft import istft, stft

BACKENDS = ["torch", "numba"]


@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize("n_fft", [512, 2048])
@pytest.mark.parametrize("time", [1, 511, 2048, 70_001])
def test_stft_and_istft_equal_librosas(rng, time, n_fft):
    x = rng.standard_normal(time)
    expected = librosa.stft(x, n_fft=n_fft, hop_length=n_fft // 4) if time > 1 else None
    ours = stft(torch.from_numpy(x)[None], n_fft, n_fft // 4)
    if expected is not None:
        np.testing.assert_allclose(ours[0].numpy(), expected, atol=1e-10)
    length = max(1, time - 100)
    back = istft(ours, length, n_fft // 4)[0].numpy()
    np.testing.assert_allclose(back, librosa.istft(ours[0].numpy(), n_fft=n_fft, length=length), atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("batch", "time"), [(0, 100), (1, 0), (1, 1), (2, 700), (3, 33_000)])
def test_float32_agrees_with_float64(rng, backend, batch, time):
    x = torch.from_numpy(rng.standard_normal((batch, time)))
    with force(backend):
        spectrogram = stft(x.float())
        back = istft(spectrogram, time)
    assert spectrogram.dtype == torch.complex64
    assert (spectrogram - stft(x)).abs().amax() < 1e-4 if batch else spectrogram.shape == (0, 1025, 1)
    torch.testing.assert_close(back, istft(stft(x), time).float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_covered_samples_are_restored_and_the_rest_is_zero(rng, backend):
    x = torch.from_numpy(rng.standard_normal((2, 5000)).astype(np.float32))
    with force(backend):
        back = istft(stft(x), 9000)
    torch.testing.assert_close(back[:, :5000], x, atol=1e-5, rtol=0)
    assert (back[:, 9 * 512 + 1024 :] == 0).all()


@pytest.mark.parametrize("missing", [0, 1, 37, 128, 300, 640, 703])
def test_inconsistent_frames_are_weighted_as_in_librosa(rng, missing):
    """A waveform's own frames agree, so that leaving one out goes unnoticed; inconsistent ones show which are used."""
    spectrogram = rng.standard_normal((257, 9)) + 1j * rng.standard_normal((257, 9))
    length = 8 * 128 + 256 - missing
    expected = librosa.istft(spectrogram, n_fft=512, hop_length=128, length=length)
    back = istft(torch.from_numpy(spectrogram)[None], length, 128)[0]
    np.testing.assert_allclose(back.numpy(), expected, rtol=1e-6, atol=1e-10)
    with force("numba"):
        compiled = istft(torch.from_numpy(spectrogram.astype(np.complex64))[None], length, 128)[0]
    covered = slice(0, 8 * 128)  # after it, float32 values are divided by almost 0
    np.testing.assert_allclose(compiled[covered], expected[covered], atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_views_give_the_same_result(rng, backend):
    x = torch.from_numpy(rng.standard_normal((6000, 2)).astype(np.float32))
    with force(backend):
        spectrogram = stft(x.T)
        assert torch.equal(spectrogram, stft(x.T.clone(memory_format=torch.contiguous_format)))
        scattered = spectrogram.clone(memory_format=torch.contiguous_format)
        assert torch.equal(istft(spectrogram, 6000), istft(scattered, 6000))


@pytest.mark.parametrize("hop", [500, 2048])
def test_a_hop_that_does_not_divide_half_a_frame_is_refused(hop):
    with pytest.raises(ValueError, match=f"hop_length must divide n_fft // 2 = 1024, got {hop}"):
        istft(stft(torch.zeros(1, 3000), 2048, hop), 3000, hop)
