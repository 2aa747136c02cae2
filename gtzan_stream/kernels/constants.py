"""Numbers that the torch, numba and Triton versions of a function share, so that they cannot differ.

numba and Triton compile them into the kernels.
"""

# Philox 4x32-10: multipliers of the two products, increments of the key, rounds. See gtzan_stream.dsp.philox.
PHILOX_M0, PHILOX_M1 = 0xD2511F53, 0xCD9E8D57
PHILOX_W0, PHILOX_W1 = 0x9E3779B9, 0xBB67AE85
PHILOX_ROUNDS = 10

NOISE_LANES = 256
"""Philox blocks in a tile of noise, 4 x NOISE_LANES samples. Changing it changes all noise; see dsp.random."""

MURMUR_0, MURMUR_1 = 0x85EBCA6B, 0xC2B2AE35
"""Multipliers of MurmurHash3's finalizer, the round function of the permutation."""

# Cephes' logf: bits of sqrt(1/2), bits of a mantissa, ln 2 in two parts, and the polynomial P, highest power first.
# See numba_log.
SQRT_HALF_BITS, MANTISSA_BITS = 0x3F3504F3, 23
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
LOG = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)

# sin(pi t) / t and cos(pi t) for |t| <= 1/2 in powers of t^2, lowest first.
SIN = (3.141592654, -5.167712765, 2.550163319, -0.5992521983, 0.0820504027, -0.007028386448)
COS = (0.9999999998, -4.934802137, 4.05870916, -1.335212005, 0.2349373175, -0.02439632455)

# The window of the resampler, (i0(8.6 sqrt(r)) - 1) / (i0(8.6) - 1) with r = 1 - t^2, divided by r, in powers of r,
# lowest first: to 6e-8.
KAISER = (0.0246658491, 0.114207656, 0.232495507, 0.28014409, 0.173315354, 0.147270019, -0.00250975785, 0.0304112314)

SILENT_POWER = 1e-36
"""Largest squared magnitude of a silent bin of a spectrogram. Its phase counts as 0."""

RISE, ONSET_WEIGHT = 3.0, 0.75
"""The phase-locked vocoder's onsets: ``ONSET_WEIGHT * max(|B|^2 - RISE * |A|^2, 0)``. See dsp.locked."""

WIDEST = 8
"""Largest half width of the phase-locked vocoder's smoothing, in bins."""

NO_WINDOW = 1e-30
"""A sample with a sum of squared windows up to this counts as covered by no frame, and is not divided by the sum."""
