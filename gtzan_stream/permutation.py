"""A pseudorandom permutation of 0 .. n - 1 that is evaluated at any place alone, without a table.

So the order of an epoch of ten million examples costs nothing at its start, and a resume at batch k costs what batch 0
costs. The permutation is a Feistel network on the fewest bits that hold n: each round replaces (left, right) by
(right, left XOR f(right, key)), which can be undone whatever f is, so it permutes 0 .. 2**bits - 1. Results of n or
more are sent through it again until they fall below n ("cycle walking" [1]_): fewer than two turns on average.

References
----------
.. [1] J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.
"""

import functools

import numpy as np

from gtzan_stream.dsp.backend import CPU_TENSOR, backend
from gtzan_stream.dsp.philox import key_words, philox
from gtzan_stream.kernels.constants import MURMUR_0, MURMUR_1

_LOW = np.uint64(0xFFFFFFFF)


def permute(index: np.ndarray, n: int, rng: int) -> np.ndarray:
    """Places of `index` in a pseudorandom permutation of ``0 .. n - 1``.

    Parameters
    ----------
    index : int64 or uint64 [m]
        ``0 <= index < n``.
    n : int
        Size of the permutation, ``1 <= n < 2**63``.
    rng : int
        64-bit key, from `dsp.random.rng`: another key, another permutation.

    Returns
    -------
    array [m], dtype of `index`
        Distinct for distinct `index`.

    Raises
    ------
    ValueError
        If `n` or an index is out of range.

    Examples
    --------
    >>> sorted(permute(np.arange(5), 5, rng=3).tolist())
    [0, 1, 2, 3, 4]
    """
    index = np.asarray(index)
    if not 1 <= n < 2**63:
        raise ValueError(f"n must be in 1 .. 2**63 - 1, got {n}")
    if index.size and not (index.min() >= 0 and index.max() < n):
        raise ValueError(f"indices must be in 0 .. {n - 1}, got {index.min()} .. {index.max()}")
    bits = max(4, (n - 1).bit_length())
    keys = _round_keys(rng)
    if backend(CPU_TENSOR) == "numba":
        from gtzan_stream.kernels import numba_permutation

        place = index.astype(np.uint64)
        numba_permutation.permute(place, np.uint64(n), bits, keys)
        return place.astype(index.dtype)
    place = _feistel(index.astype(np.uint64), bits, keys)
    while (outside := np.flatnonzero(place >= np.uint64(n))).size:
        place[outside] = _feistel(place[outside], bits, keys)
    return place.astype(index.dtype)


def _feistel(value: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    """A permutation of ``0 .. 2**bits - 1``; the halves swap widths each round when `bits` is odd."""
    left_bits, right_bits = bits // 2, bits - bits // 2
    left, right = value >> np.uint64(right_bits), value & np.uint64((1 << right_bits) - 1)
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & np.uint64((1 << left_bits) - 1))
        left_bits, right_bits = right_bits, left_bits
    return left << np.uint64(right_bits) | right


def _mix(x: np.ndarray) -> np.ndarray:
    """Scramble 32-bit words: the finalizer of MurmurHash3, top bits folded onto the low ones."""
    x = (x ^ (x >> np.uint64(16))) * np.uint64(MURMUR_0) & _LOW
    x = (x ^ (x >> np.uint64(13))) * np.uint64(MURMUR_1) & _LOW
    return x ^ (x >> np.uint64(16))


@functools.lru_cache(maxsize=4)  # enough for an epoch; keeping every epoch's would fragment the heap between batches
def _round_keys(rng: int) -> np.ndarray:
    """Twelve round keys, uint64 below 2**32; twelve rounds also mix halves of two bits."""
    counter = np.zeros((3, 4), np.uint32)
    counter[:, 0] = np.arange(3)
    return philox(counter, np.array(key_words(rng))).astype(np.uint64).ravel()
