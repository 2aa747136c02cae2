"""Philox 4x32-10 and Box-Muller on CUDA: one program makes one tile of one sample's noise, in registers."""

from typing import no_type_check

import torch
import triton
import triton.language as tl

LANES = 256  # Philox blocks in a tile; a tile of noise is 4 x LANES samples


@triton.jit
@no_type_check
def _log(u):
    """Cephes' logf, to a few units in the last place, also just below 1."""
    bits = u.to(tl.int32, bitcast=True)
    exponent = (bits - 0x3F3504F3) >> 23
    x = (bits - (exponent << 23)).to(tl.float32, bitcast=True) - 1.0
    e = exponent.to(tl.float32)
    p = 7.0376836292e-2 * x - 1.1514610310e-1
    p = (p * x + 1.1676998740e-1) * x - 1.2420140846e-1
    p = (p * x + 1.4249322787e-1) * x - 1.6668057665e-1
    p = (p * x + 2.0000714765e-1) * x - 2.4999993993e-1
    p = (p * x + 3.3333331174e-1) * x * x * x
    return (x + (p - 2.12194440e-4 * e - 0.5 * x * x)) + 0.693359375 * e


@triton.jit
@no_type_check
def _box_muller(first, second):
    ulp = 5.9604644775390625e-08  # 2 ** -24
    u = ((first >> 8).to(tl.int32).to(tl.float32) + 1.0) * ulp
    radius = tl.sqrt_rn(-2.0 * _log(u))
    half = (second.to(tl.int32, bitcast=True) >> 8).to(tl.float32) * ulp  # of the angle, in units of pi
    z = half * half
    s = -0.007028386448 * z + 0.0820504027
    s = ((s * z - 0.5992521983) * z + 2.550163319) * z - 5.167712765
    s = (s * z + 3.141592654) * half
    c = -0.02439632455 * z + 0.2349373175
    c = ((c * z - 1.335212005) * z + 4.05870916) * z - 4.934802137
    c = c * z + 0.9999999998
    return radius * ((c - s) * (c + s)), radius * (2.0 * s * c)


@triton.jit
@no_type_check
def _normal(counters, out, length, LANES: tl.constexpr):
    tile, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    lane = tl.arange(0, LANES)
    zero = tl.zeros([LANES], tl.uint32)
    c0 = (tile * LANES + lane).to(tl.uint32)
    c1 = zero + tl.load(counters + row * 6).to(tl.uint32)
    c2 = zero + tl.load(counters + row * 6 + 1).to(tl.uint32)
    c3 = zero + tl.load(counters + row * 6 + 2).to(tl.uint32)
    k0 = zero + tl.load(counters + row * 6 + 3).to(tl.uint32)
    k1 = zero + tl.load(counters + row * 6 + 4).to(tl.uint32)
    m0 = tl.full([LANES], 0xD2511F53, tl.uint32)
    m1 = tl.full([LANES], 0xCD9E8D57, tl.uint32)
    for _ in tl.static_range(10):
        high0, low0, high1, low1 = tl.umulhi(m0, c0), m0 * c0, tl.umulhi(m1, c2), m1 * c2
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += 0x9E3779B9
        k1 += 0xBB67AE85
    z0, z1 = _box_muller(c0, c1)
    z2, z3 = _box_muller(c2, c3)
    std = tl.load(counters + row * 6 + 5).to(tl.float64, bitcast=True).to(tl.float32)
    place = tile.to(tl.int64) * 4 * LANES + lane
    start = out + row * length
    tl.store(start + place, z0 * std, mask=place < length)
    tl.store(start + place + LANES, z1 * std, mask=place + LANES < length)
    tl.store(start + place + 2 * LANES, z2 * std, mask=place + 2 * LANES < length)
    tl.store(start + place + 3 * LANES, z3 * std, mask=place + 3 * LANES < length)


@no_type_check
def normal(counters: torch.Tensor, out: torch.Tensor) -> None:
    """Fill `out`, float32 [batch, time], with noise.

    `counters`, int64 [batch, 6], holds 32-bit words: crop, hash low and high, key low and high; and the bits of a
    float64, the standard deviation.
    """
    grid = (triton.cdiv(out.shape[1], 4 * LANES), out.shape[0])
    if out.numel():
        with torch.cuda.device_of(out):
            _normal[grid](counters, out, out.shape[1], LANES=LANES, num_warps=4)
