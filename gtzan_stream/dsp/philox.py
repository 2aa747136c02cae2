"""The generator itself: Philox 4x32-10, plain, in numpy for the host and in torch for any device."""

import numpy as np
import torch

from gtzan_stream.kernels import constants

MULTIPLIERS = (constants.PHILOX_M0, constants.PHILOX_M1)
WEYL = (constants.PHILOX_W0, constants.PHILOX_W1)
N_ROUNDS = constants.PHILOX_ROUNDS
_LOW = 0xFFFFFFFF


def key_words(rng: int) -> tuple[int, int]:
    """The two 32-bit words of a 64-bit Philox key, low one first."""
    return rng & _LOW, rng >> 32


def philox(counter: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Philox 4x32-10 of each counter.

    Parameters
    ----------
    counter : uint32 [..., 4]
    key : uint32 [2]

    Returns
    -------
    uint32 [..., 4]
    """
    low, shift = np.uint64(_LOW), np.uint64(32)
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, np.uint64), -1, 0)
    k0, k1 = (int(word) for word in key)
    for _ in range(N_ROUNDS):
        p0, p1 = np.uint64(MULTIPLIERS[0]) * c0, np.uint64(MULTIPLIERS[1]) * c2
        c0, c1 = (p1 >> shift) ^ c1 ^ np.uint64(k0), p1 & low
        c2, c3 = (p0 >> shift) ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = (k0 + WEYL[0]) & _LOW, (k1 + WEYL[1]) & _LOW
    return np.stack([c0, c1, c2, c3], -1).astype(np.uint32)


def philox_torch(
    c0: torch.Tensor, c1: torch.Tensor, c2: torch.Tensor, c3: torch.Tensor, key: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """`philox` of int64 tensors of 32-bit words, which broadcast; a product that wraps around still has its 64 bits."""
    k0, k1 = key
    for _ in range(N_ROUNDS):
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1 = ((p1 >> 32) & _LOW) ^ c1 ^ k0, p1 & _LOW
        c2, c3 = ((p0 >> 32) & _LOW) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + WEYL[0]) & _LOW, (k1 + WEYL[1]) & _LOW
    return c0, c1, c2, c3
