"""Random numbers on the CPU: uniform draws, and Gaussian noise, one tile of 4 x LANES samples at a time.

`gtzan_stream.dsp.random` has the layout of noise, `gtzan_stream.dsp.philox` the generator. Each step of Box-Muller is a
loop of its own over LANES values in the cache, because calls to log, sin or cos would prevent vectorisation:

- The logarithm is `numba_log`.
- The second word, as a signed number, is scaled to -1/2 <= h < 1/2. Polynomials in h^2 give ``c = cos(pi h)`` and
  ``s = sin(pi h)``, of half the angle; then ``cos(2 pi h) = (c - s)(c + s)`` and ``sin(2 pi h) = 2 s c``. For the full
  angle they would need a higher degree.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.compiled import compiled
from gtzan_stream.kernels.numba_log import exponent_of, log_of, without_exponent

_M0, _M1 = np.uint64(constants.PHILOX_M0), np.uint64(constants.PHILOX_M1)
_W0, _W1 = np.uint64(constants.PHILOX_W0), np.uint64(constants.PHILOX_W1)
_ROUNDS = constants.PHILOX_ROUNDS
_LOW_32 = np.uint64(0xFFFFFFFF)
_11, _32 = np.uint64(11), np.uint64(32)
_8 = np.uint32(8)
LANES = constants.NOISE_LANES

_F = np.float32  # so that nothing widens to double
_ULP, _ONE, _TWO = _F(2.0**-24), _F(1), _F(2)
_S0, _S1, _S2, _S3, _S4, _S5 = (_F(number) for number in constants.SIN)
_C0, _C1, _C2, _C3, _C4, _C5 = (_F(number) for number in constants.COS)


@njit(inline="always")
@no_type_check
def _philox(c0, c1, c2, c3, k0, k1):
    """Compute the four random words of a counter; all are uint64 that hold 32 bits."""
    for _ in range(_ROUNDS):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW_32, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW_32
        k0, k1 = (k0 + _W0) & _LOW_32, (k1 + _W1) & _LOW_32
    return c0, c1, c2, c3


@compiled()
@no_type_check
def uniform(key0, key1, key_hash, crop, out):
    """Fill `out`, float64 [batch, n], with numbers in [0, 1): two from each Philox block."""
    for i in range(out.shape[0]):
        for j in range(0, out.shape[1], 2):
            block = np.uint64(j // 2)
            w0, w1, w2, w3 = _philox(block, crop[i], key_hash[i] & _LOW_32, key_hash[i] >> _32, key0, key1)
            out[i, j] = ((w0 << _32 | w1) >> _11) * 2.0**-53
            if j + 1 < out.shape[1]:
                out[i, j + 1] = ((w2 << _32 | w3) >> _11) * 2.0**-53


@compiled(fastmath={"contract", "nsz", "nnan", "ninf"})
@no_type_check
def normal(key0, key1, key_hash, crop, std, out):
    """Fill `out`, float32 [time], with the Gaussian noise of one example; `std`, float32, is its standard deviation."""
    words = np.empty((4, LANES), np.uint32)
    tile = np.empty((4, LANES), np.float32)
    noise = tile.reshape(-1)
    uniforms = np.empty(LANES, np.float32)
    low, high = key_hash & _LOW_32, key_hash >> _32
    for t in range(0, (len(out) + 4 * LANES - 1) // (4 * LANES)):
        for lane in range(LANES):
            block = np.uint64(t * LANES + lane)
            w0, w1, w2, w3 = _philox(block, crop, low, high, key0, key1)
            words[0, lane], words[1, lane] = np.uint32(w0), np.uint32(w1)
            words[2, lane], words[3, lane] = np.uint32(w2), np.uint32(w3)
        _box_muller(words[0], words[1], uniforms, tile[0], tile[1])
        _box_muller(words[2], words[3], uniforms, tile[2], tile[3])
        start = t * 4 * LANES
        n = min(4 * LANES, len(out) - start)
        for i in range(n):
            out[start + i] = std * noise[i]


@compiled(fastmath={"contract", "nsz", "nnan", "ninf"})
@no_type_check
def _box_muller(first, second, uniforms, cosines, sines):
    """Compute two Gaussians from each pair of words: radius from `first`, angle from `second`.

    `uniforms` is a buffer.
    """
    bits = uniforms.view(np.int32)
    signed = second.view(np.int32)
    for i in range(LANES):
        uniforms[i] = (_F(np.int32(first[i] >> _8)) + _ONE) * _ULP  # (0, 1]
    for i in range(LANES):
        exponent = exponent_of(bits[i])
        bits[i] = without_exponent(bits[i], exponent)
        cosines[i] = _F(exponent)
    for i in range(LANES):
        radius = np.sqrt(-_TWO * log_of(uniforms[i] - _ONE, cosines[i]))
        h = _F(signed[i] >> np.int32(8)) * _ULP  # half of the angle, in units of pi: [-1/2, 1/2)
        z = h * h
        s = (((((_S5 * z + _S4) * z + _S3) * z + _S2) * z + _S1) * z + _S0) * h
        c = ((((_C5 * z + _C4) * z + _C3) * z + _C2) * z + _C1) * z + _C0
        cosines[i] = radius * ((c - s) * (c + s))
        sines[i] = radius * (_TWO * s * c)
