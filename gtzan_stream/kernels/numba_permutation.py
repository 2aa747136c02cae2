"""The permutation of an epoch's examples on the CPU; `gtzan_stream.permutation` explains it."""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.compiled import compiled

_MIX0, _MIX1 = np.uint64(constants.MURMUR_0), np.uint64(constants.MURMUR_1)
_LOW_32 = np.uint64(0xFFFFFFFF)
_1, _13, _16 = (np.uint64(n) for n in (1, 13, 16))


@compiled()
@no_type_check
def permute(index, n, bits, keys):
    """Replace each of `index`, uint64 [m], by its image: a Feistel network, repeated until the value is below `n`."""
    for i in range(len(index)):
        value = index[i]
        while True:
            left_bits, right_bits = bits // 2, bits - bits // 2
            left = value >> np.uint64(right_bits)
            right = value & ((_1 << np.uint64(right_bits)) - _1)
            for key in keys:
                x = right ^ key
                x = (x ^ (x >> _16)) * _MIX0 & _LOW_32
                x = (x ^ (x >> _13)) * _MIX1 & _LOW_32
                x ^= x >> _16
                left, right = right, left ^ (x & ((_1 << np.uint64(left_bits)) - _1))
                left_bits, right_bits = right_bits, left_bits
            value = left << np.uint64(right_bits) | right
            if value < n:
                break
        index[i] = value
