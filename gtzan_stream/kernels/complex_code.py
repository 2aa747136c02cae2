"""Complex vectors for functions that generate code, and butterflies: Fourier transforms of 2, 3, 4, 5 or 8 of them.

A butterfly computes ``y[p] = sum over q of x[q] exp(-2 pi i p q / r)`` for r numbers, written out with as few
operations as possible. `gtzan_stream.kernels.vector_code` explains how code is generated.
"""

from math import cos, pi, sin, sqrt
from typing import no_type_check

from gtzan_stream.kernels.lane_count import LANES
from gtzan_stream.kernels.vector_code import call, constant


@no_type_check
def load_complex(builder, memory, position):
    """Read a complex vector: L real parts, followed by L imaginary parts."""
    return Complex(builder, memory.load(position), memory.load(position, LANES))


@no_type_check
def store_complex(memory, z, position):
    """Write a complex vector."""
    memory.store(z.re, position)
    memory.store(z.im, position, LANES)


@no_type_check
def broadcast_complex(builder, memory, position, offset=0):
    """Return a complex vector with one number, real part and imaginary part side by side, in all lanes."""
    return Complex(builder, memory.broadcast(position, offset), memory.broadcast(position, offset + 1))


class Complex:
    """A complex vector in generated code."""

    @no_type_check
    def __init__(self, builder, re, im):
        self._builder, self.re, self.im = builder, re, im

    @no_type_check
    def __add__(self, other):
        b = self._builder
        return Complex(b, b.fadd(self.re, other.re), b.fadd(self.im, other.im))

    @no_type_check
    def __sub__(self, other):
        b = self._builder
        return Complex(b, b.fsub(self.re, other.re), b.fsub(self.im, other.im))

    @no_type_check
    def __mul__(self, other):
        b = self._builder
        re = call(b, "fma", self.re, other.re, b.fneg(b.fmul(self.im, other.im)))
        return Complex(b, re, call(b, "fma", self.re, other.im, b.fmul(self.im, other.re)))

    @no_type_check
    def plus(self, factor, other):
        """Return ``self + factor * other`` for a Python number `factor`."""
        b, factor = self._builder, constant(factor)
        return Complex(b, call(b, "fma", factor, other.re, self.re), call(b, "fma", factor, other.im, self.im))

    @no_type_check
    def times_i(self):
        return Complex(self._builder, self._builder.fneg(self.im), self.re)

    @no_type_check
    def times_minus_i(self):
        return Complex(self._builder, self.im, self._builder.fneg(self.re))

    @no_type_check
    def conjugate(self):
        return Complex(self._builder, self.re, self._builder.fneg(self.im))

    @no_type_check
    def swapped(self):
        """Return real and imaginary part in each other's place."""
        return Complex(self._builder, self.im, self.re)

    @no_type_check
    def square(self):
        """Return the squared magnitude, a vector."""
        return call(self._builder, "fma", self.re, self.re, self._builder.fmul(self.im, self.im))


@no_type_check
def _butterfly2(a, b):
    return a + b, a - b


@no_type_check
def _butterfly3(a, b, c):
    total, rotated = b + c, (b - c).times_minus_i()
    middle = a.plus(cos(2 * pi / 3), total)
    return a + total, middle.plus(sin(2 * pi / 3), rotated), middle.plus(-sin(2 * pi / 3), rotated)


@no_type_check
def _butterfly4(a, b, c, d):
    even, even_minus, odd, odd_minus = a + c, a - c, b + d, (b - d).times_minus_i()
    return even + odd, even_minus + odd_minus, even - odd, even_minus - odd_minus


@no_type_check
def _butterfly5(a, b, c, d, e):
    cos1, cos2, sin1, sin2 = cos(2 * pi / 5), cos(4 * pi / 5), sin(2 * pi / 5), sin(4 * pi / 5)
    outer, inner = b + e, c + d
    outer_minus, inner_minus = (b - e).times_minus_i(), (c - d).times_minus_i()
    y1, y2 = a.plus(cos1, outer).plus(cos2, inner), a.plus(cos2, outer).plus(cos1, inner)
    return (
        a + outer + inner,
        y1.plus(sin1, outer_minus).plus(sin2, inner_minus),
        y2.plus(sin2, outer_minus).plus(-sin1, inner_minus),
        y2.plus(-sin2, outer_minus).plus(sin1, inner_minus),
        y1.plus(-sin1, outer_minus).plus(-sin2, inner_minus),
    )


@no_type_check
def _butterfly8(a, b, c, d, e, f, g, h):
    """Join butterflies of the even and of the odd numbers; odd one k is rotated by exp(-2 pi i k / 8)."""
    even, odd, half = _butterfly4(a, c, e, g), _butterfly4(b, d, f, h), sqrt(0.5)
    rotated1 = odd[1] + odd[1].times_minus_i()  # without the factor sqrt(1/2), which is joined to the addition
    rotated2 = odd[2].times_minus_i()
    rotated3 = odd[3].times_minus_i() - odd[3]  # likewise
    return (
        even[0] + odd[0],
        even[1].plus(half, rotated1),
        even[2] + rotated2,
        even[3].plus(half, rotated3),
        even[0] - odd[0],
        even[1].plus(-half, rotated1),
        even[2] - rotated2,
        even[3].plus(-half, rotated3),
    )


BUTTERFLIES = {2: _butterfly2, 3: _butterfly3, 4: _butterfly4, 5: _butterfly5, 8: _butterfly8}
"""Butterflies by radix, functions from `Complex` to `Complex`."""
