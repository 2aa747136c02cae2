"""The permutation of an epoch's examples on the CPU; see `gtzan_stream.permutation`."""

from typing import no_type_check

import numpy as np

from gtzan_stream.kernels import constants
from gtzan_stream.kernels.compiled import compiled

_MIX0, _MIX1 = np.uint64(constants.MURMUR_0), np.uint64(constants.MURMUR_1)
_LOW = np.uint64(0xFFFFFFFF)
_1, _13, _16 = (np.uint64(n) for n in (1, 13, 16))


@compiled()
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
