"""Gaussian noise on CUDA: one program makes one tile of one example's noise, in registers.

`gtzan_stream.dsp.random` has the layout of noise, `gtzan_stream.dsp.philox` the generator, and `numba_random` and
`numba_log` the formulas of sine, cosine and logarithm. They are the same here, so that the noise is the same on every
device; CUDA's own log loses digits just below 1.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl

from gtzan_stream.kernels import constants

LANES = constants.NOISE_LANES
M0, M1 = tl.constexpr(constants.PHILOX_M0), tl.constexpr(constants.PHILOX_M1)
W0, W1 = tl.constexpr(constants.PHILOX_W0), tl.constexpr(constants.PHILOX_W1)
ROUNDS = tl.constexpr(constants.PHILOX_ROUNDS)
SQRT_HALF_BITS, MANTISSA_BITS = tl.constexpr(constants.SQRT_HALF_BITS), tl.constexpr(constants.MANTISSA_BITS)
LN2_HIGH, LN2_LOW = tl.constexpr(constants.LN2_HIGH), tl.constexpr(constants.LN2_LOW)
L0, L1, L2, L3, L4, L5, L6, L7, L8 = (tl.constexpr(number) for number in constants.LOG)
S0, S1, S2, S3, S4, S5 = (tl.constexpr(number) for number in constants.SIN)
C0, C1, C2, C3, C4, C5 = (tl.constexpr(number) for number in constants.COS)


@triton.jit
@no_type_check
def _log(u):
    """Compute the natural logarithm as `numba_log` does."""
    bits = u.to(tl.int32, bitcast=True)
    exponent = (bits - SQRT_HALF_BITS) >> MANTISSA_BITS
    x = (bits - (exponent << MANTISSA_BITS)).to(tl.float32, bitcast=True) - 1.0
    e = exponent.to(tl.float32)
    p = L0 * x + L1
    p = (p * x + L2) * x + L3
    p = (p * x + L4) * x + L5
    p = (p * x + L6) * x + L7
    p = (p * x + L8) * x * x * x
    return (x + (p + LN2_LOW * e - 0.5 * x * x)) + LN2_HIGH * e


@triton.jit
@no_type_check
def sine_cosine(h):
    """Compute sine and cosine of ``2 pi h`` for ``|h| <= 1/2``, by those of half the angle."""
    z = h * h
    s = S5 * z + S4
    s = ((s * z + S3) * z + S2) * z + S1
    s = (s * z + S0) * h
    c = C5 * z + C4
    c = ((c * z + C3) * z + C2) * z + C1
    c = c * z + C0
    return 2.0 * s * c, (c - s) * (c + s)


@triton.jit
@no_type_check
def _box_muller(first, second):
    """Compute two Gaussians from each pair of words: radius from `first`, angle from `second`."""
    ulp = 5.9604644775390625e-08  # 2 ** -24
    u = ((first >> 8).to(tl.int32).to(tl.float32) + 1.0) * ulp
    radius = tl.sqrt_rn(-2.0 * _log(u))
    h = (second.to(tl.int32, bitcast=True) >> 8).to(tl.float32) * ulp
    s, c = sine_cosine(h)
    return radius * c, radius * s


@triton.jit
@no_type_check
def _normal(counters, out, length, LANES: tl.constexpr):
    tiles = tl.cdiv(length, 4 * LANES)
    tile, row = tl.program_id(0) % tiles, (tl.program_id(0) // tiles).to(tl.int64)
    lane = tl.arange(0, LANES)
    zero = tl.zeros([LANES], tl.uint32)
    c0 = (tile * LANES + lane).to(tl.uint32)
    c1 = zero + tl.load(counters + row * 6).to(tl.uint32)
    c2 = zero + tl.load(counters + row * 6 + 1).to(tl.uint32)
    c3 = zero + tl.load(counters + row * 6 + 2).to(tl.uint32)
    k0 = zero + tl.load(counters + row * 6 + 3).to(tl.uint32)
    k1 = zero + tl.load(counters + row * 6 + 4).to(tl.uint32)
    m0 = tl.full([LANES], M0, tl.uint32)
    m1 = tl.full([LANES], M1, tl.uint32)
    for _ in tl.static_range(ROUNDS):
        high0, low0, high1, low1 = tl.umulhi(m0, c0), m0 * c0, tl.umulhi(m1, c2), m1 * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += W0
        k1 += W1
    z0, z1 = _box_muller(c0, c1)
    z2, z3 = _box_muller(c2, c3)
    std = tl.load(counters + row * 6 + 5).to(tl.float64, bitcast=True).to(tl.float32)
    sample = tile.to(tl.int64) * 4 * LANES + lane
    start = out + row * length
    tl.store(start + sample, z0 * std, mask=sample < length)
    tl.store(start + sample + LANES, z1 * std, mask=sample + LANES < length)
    tl.store(start + sample + 2 * LANES, z2 * std, mask=sample + 2 * LANES < length)
    tl.store(start + sample + 3 * LANES, z3 * std, mask=sample + 3 * LANES < length)


@no_type_check
def normal(counters: torch.Tensor, out: torch.Tensor) -> None:
    """Fill `out`, float32 [batch, time], with noise.

    A row of `counters`, int64 [batch, 6], is the crop index, the low and high word of the clip key's hash, the low and
    high word of the Philox key, and the bits of the standard deviation as a float64.
    """
    grid = (triton.cdiv(out.shape[1], 4 * LANES) * out.shape[0],)
    if out.numel():
        with torch.cuda.device_of(out):
            _normal[grid](counters, out, out.shape[1], LANES=LANES, num_warps=4)
