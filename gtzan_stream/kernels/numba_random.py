"""Philox 4x32-10 on the CPU: uniform draws, a permutation, and Gaussian noise in one pass of vectorisable loops."""

from typing import no_type_check

import numpy as np
from numba import njit

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_MIX0, _MIX1 = np.uint64(0x85EBCA6B), np.uint64(0xC2B2AE35)
_LOW = np.uint64(0xFFFFFFFF)
_1, _11, _13, _16, _32 = (np.uint64(n) for n in (1, 11, 13, 16, 32))
_8 = np.uint32(8)

LANES = 256  # Philox blocks in a tile; a tile of noise is 4 x LANES samples

# In float32, so that nothing widens to double: Cephes' logf; sin and cos of pi t for |t| <= 1/2 in powers of t^2.
_F = np.float32
_ULP, _HALF, _ONE, _TWO = _F(2.0**-24), _F(0.5), _F(1), _F(2)
_SQRT_HALF_BITS, _MANTISSA_BITS = np.int32(0x3F3504F3), np.int32(23)
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)
_L0, _L1, _L2 = _F(7.0376836292e-2), _F(-1.1514610310e-1), _F(1.1676998740e-1)
_L3, _L4, _L5 = _F(-1.2420140846e-1), _F(1.4249322787e-1), _F(-1.6668057665e-1)
_L6, _L7, _L8 = _F(2.0000714765e-1), _F(-2.4999993993e-1), _F(3.3333331174e-1)
_S0, _S1, _S2 = _F(3.141592654), _F(-5.167712765), _F(2.550163319)
_S3, _S4, _S5 = _F(-0.5992521983), _F(0.0820504027), _F(-0.007028386448)
_C0, _C1, _C2 = _F(0.9999999998), _F(-4.934802137), _F(4.05870916)
_C3, _C4, _C5 = _F(-1.335212005), _F(0.2349373175), _F(-0.02439632455)


@njit(inline="always")
@no_type_check
def _philox(c0, c1, c2, c3, k0, k1):
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@njit(nogil=True, cache=True)
@no_type_check
def uniform(key0, key1, key_hash, crop, out):
    """Fill `out`, float64 [batch, n], with numbers in [0, 1): two from each Philox block."""
    for i in range(out.shape[0]):
        for j in range(0, out.shape[1], 2):
            block = np.uint64(j // 2)
            w0, w1, w2, w3 = _philox(block, crop[i], key_hash[i] & _LOW, key_hash[i] >> _32, key0, key1)
            out[i, j] = ((w0 << _32 | w1) >> _11) * 2.0**-53
            if j + 1 < out.shape[1]:
                out[i, j + 1] = ((w2 << _32 | w3) >> _11) * 2.0**-53


@njit(nogil=True, cache=True)
@no_type_check
def permute(place, n, bits, keys):
    """Replace each of `place`, uint64 [m], by its image: a Feistel network, walked until the value falls below `n`."""
    for i in range(len(place)):
        value = place[i]
        while True:
            left_bits, right_bits = bits // 2, bits - bits // 2
            left = value >> np.uint64(right_bits)
            right = value & ((_1 << np.uint64(right_bits)) - _1)
            for key in keys:
                x = right ^ key
                x = (x ^ (x >> _16)) * _MIX0 & _LOW
                x = (x ^ (x >> _13)) * _MIX1 & _LOW
                x ^= x >> _16
                left, right = right, left ^ (x & ((_1 << np.uint64(left_bits)) - _1))
                left_bits, right_bits = right_bits, left_bits
            value = left << np.uint64(right_bits) | right
            if value < n:
                break
        place[i] = value


@njit(nogil=True, cache=True, fastmath={"contract", "nsz", "nnan", "ninf"})
@no_type_check
def normal(key0, key1, key_hash, crop, std, out):
    """Fill `out`, float32 [time], with the Gaussian noise of one sample, of standard deviation `std`, float32."""
    words = np.empty((4, LANES), np.uint32)
    tile = np.empty((4, LANES), np.float32)
    noise = tile.reshape(-1)
    uniforms = np.empty(LANES, np.float32)
    low, high = key_hash & _LOW, key_hash >> _32
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


@njit(nogil=True, cache=True, fastmath={"contract", "nsz", "nnan", "ninf"})
@no_type_check
def _box_muller(first, second, uniforms, cosines, sines):
    """Two Gaussians from each pair of words: radius from the first, angle from the second."""
    bits = uniforms.view(np.int32)
    turns = second.view(np.int32)
    for i in range(LANES):
        uniforms[i] = (_F(np.int32(first[i] >> _8)) + _ONE) * _ULP  # (0, 1]
    for i in range(LANES):
        exponent = (bits[i] - _SQRT_HALF_BITS) >> _MANTISSA_BITS
        bits[i] -= exponent << _MANTISSA_BITS
        cosines[i] = _F(exponent)
    for i in range(LANES):
        e, x = cosines[i], uniforms[i] - _ONE
        p = ((((_L0 * x + _L1) * x + _L2) * x + _L3) * x + _L4) * x + _L5
        p = (((p * x + _L6) * x + _L7) * x + _L8) * x * x * x
        log = (x + (p + _LN2_LOW * e - _HALF * x * x)) + _LN2_HIGH * e
        radius = np.sqrt(-_TWO * log)
        half = _F(turns[i] >> np.int32(8)) * _ULP  # of the angle, in units of pi: [-1/2, 1/2)
        z = half * half
        s = (((((_S5 * z + _S4) * z + _S3) * z + _S2) * z + _S1) * z + _S0) * half
        c = ((((_C5 * z + _C4) * z + _C3) * z + _C2) * z + _C1) * z + _C0
        cosines[i] = radius * ((c - s) * (c + s))
        sines[i] = radius * (_TWO * s * c)
