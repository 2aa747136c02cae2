"""Philox 4x32-10, the counter-based generator, in numpy for the host and in torch for any device.

A round multiplies two of the counter's four 32-bit words by constants and mixes both halves of the products:

    c0, c1, c2, c3  <-  high(M1 c2) ^ c1 ^ k0,  low(M1 c2),  high(M0 c0) ^ c3 ^ k1,  low(M0 c0)
    k0, k1          <-  k0 + W0, k1 + W1                                            (mod 2**32)

A round can be undone, so different counters give different results under one key. Seven rounds pass the statistical
tests of BigCrush, and ten leave a margin [1]_. The numba and Triton kernels do the same rounds.

References
----------
.. [1] J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import numpy as np
import torch

from gtzan_stream.kernels import constants

MULTIPLIERS = (constants.PHILOX_M0, constants.PHILOX_M1)
WEYL = (constants.PHILOX_W0, constants.PHILOX_W1)
N_ROUNDS = constants.PHILOX_ROUNDS
_LOW_32 = 0xFFFFFFFF


def key_words(rng: int) -> tuple[int, int]:
    """Split a 64-bit Philox key into its two 32-bit words, the low one first."""
    return rng & _LOW_32, rng >> 32


def philox(counter: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Compute the four random words of each counter.

    Parameters
    ----------
    counter : uint32 [..., 4]
    key : uint32 [2]

    Returns
    -------
    uint32 [..., 4]
    """
    low, shift = np.uint64(_LOW_32), np.uint64(32)
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, np.uint64), -1, 0)
    k0, k1 = (int(word) for word in key)
    for _ in range(N_ROUNDS):
        p0, p1 = np.uint64(MULTIPLIERS[0]) * c0, np.uint64(MULTIPLIERS[1]) * c2
        c0, c1 = (p1 >> shift) ^ c1 ^ np.uint64(k0), p1 & low
        c2, c3 = (p0 >> shift) ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = (k0 + WEYL[0]) & _LOW_32, (k1 + WEYL[1]) & _LOW_32
    return np.stack([c0, c1, c2, c3], -1).astype(np.uint32)


def philox_torch(
    c0: torch.Tensor, c1: torch.Tensor, c2: torch.Tensor, c3: torch.Tensor, key: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute `philox` of int64 tensors that hold 32-bit words and broadcast.

    A product of two words may exceed int64 and become negative, but its 64 bits are correct; masking the shifted
    product removes the sign.
    """
    k0, k1 = key
    for _ in range(N_ROUNDS):
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1 = ((p1 >> 32) & _LOW_32) ^ c1 ^ k0, p1 & _LOW_32
        c2, c3 = ((p0 >> 32) & _LOW_32) ^ c3 ^ k1, p0 & _LOW_32
        k0, k1 = (k0 + WEYL[0]) & _LOW_32, (k1 + WEYL[1]) & _LOW_32
    return c0, c1, c2, c3
