"""Default frame and hop length of an STFT, from the sample rate."""

from gtzan_stream.checks import checked_int

MAX_N_FFT = 2**20


def stft_size(sample_rate: int, n_fft: int | None = None, hop_length: int | None = None) -> tuple[int, int]:
    """Return the frame and hop length of an STFT: by default frames of about 46.4 ms that overlap by half.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft : int, optional
        Samples per frame. By default the even number nearest to ``sample_rate * 1024 / 22050`` without prime factors
        other than 2, 3 and 5, for a fast FFT; the smaller one of two equally near.
    hop_length : int, optional
        Samples from one frame to the next; ``n_fft // 2`` by default.

    Returns
    -------
    (int, int)
        `n_fft` and `hop_length`.

    Raises
    ------
    UserError
        If a number is not an integer, or out of its range.

    Examples
    --------
    >>> stft_size(22050), stft_size(16000), stft_size(16000, n_fft=400)
    ((1024, 512), (750, 375), (400, 200))
    """
    sample_rate = checked_int("sample_rate", sample_rate, 1, 1_000_000)
    if n_fft is None:
        n_fft = _nearest_fast_size(sample_rate * 1024, 22_050)
    n_fft = checked_int("n_fft", n_fft, maximum=MAX_N_FFT)
    return n_fft, max(n_fft // 2, 1) if hop_length is None else checked_int("hop_length", hop_length, 1)


def _nearest_fast_size(numerator: int, denominator: int) -> int:
    """Find the even number without prime factors other than 2, 3 and 5 that is nearest to ``numerator / denominator``.

    Integer arithmetic recognises ties exactly; the smaller number wins.
    """
    powers = range(max(numerator // denominator, 2).bit_length() + 1)
    numbers = {2 * 2**i * 3**j * 5**k for i in powers for j in powers for k in powers}
    return min(numbers, key=lambda n: (abs(n * denominator - numerator), n))
