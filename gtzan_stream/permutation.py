"""A pseudorandom permutation of 0 .. n - 1 that can be evaluated at any index alone, without a table.

The order of an epoch of ten million examples therefore takes no time and no memory to set up, and a resume at batch k
costs what batch 0 costs. Two ideas make it work:

- **Feistel network.** Write the index in the fewest bits that hold n - 1, but at least 4, and split it into a left and
  a right half. Each round replaces ``(left, right)`` by ``(right, left XOR f(right, key))``. Whatever f is, the round
  can be undone: the old right half is still there, so f of it can be computed and XORed away. So every round is a
  permutation of 0 .. 2**bits - 1, and so is any number of rounds.
- **Cycle walking** [1]_. 2**bits may exceed n. A result of n or more is sent through the network again until it falls
  below n. Following the cycles of a permutation and skipping the unwanted values gives a permutation of the others.
  With n = 5 in 4 bits, 2 -> 11 -> 7 -> 3 means that index 2 goes to 3. As 2**bits < 2 n (for n > 8), this takes fewer
  than two passes on average.

Each pass has twelve rounds. Fewer would do for large halves, but the smallest network has halves of 2 bits, where one
round does little. Over 60,000 seeds, the counts of the 24 orders of 4 examples have a relative standard deviation of
16 % after 6 rounds and of 5 % after 12, where chance alone would give 2 %.

References
----------
.. [1] J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.
"""

import functools

import numpy as np

from gtzan_stream.dsp.backend import numba_on_host
from gtzan_stream.dsp.philox import key_words, philox
from gtzan_stream.kernels.constants import MURMUR_0, MURMUR_1

_LOW = np.uint64(0xFFFFFFFF)


def permute(index: np.ndarray, n: int, rng: int) -> np.ndarray:
    """Return what a pseudorandom permutation of ``0 .. n - 1`` maps each index to.

    Parameters
    ----------
    index : int64 or uint64 [m]
        ``0 <= index < n``.
    n : int
        Size of the permutation, ``1 <= n < 2**63``.
    rng : int
        64-bit key, from `dsp.random.rng`; it selects the permutation.

    Returns
    -------
    array [m], dtype of `index`
        In ``0 .. n - 1``; different indices give different values.

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
    if numba_on_host():
        from gtzan_stream.kernels import numba_permutation

        values = index.astype(np.uint64)
        numba_permutation.permute(values, np.uint64(n), bits, keys)
        return values.astype(index.dtype)
    values = _feistel(index.astype(np.uint64), bits, keys)
    while (outside := np.flatnonzero(values >= np.uint64(n))).size:
        values[outside] = _feistel(values[outside], bits, keys)
    return values.astype(index.dtype)


def _feistel(value: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    """Permute ``0 .. 2**bits - 1``, one round a key. When `bits` is odd, the halves swap widths each round."""
    left_bits, right_bits = bits // 2, bits - bits // 2
    left, right = value >> np.uint64(right_bits), value & np.uint64((1 << right_bits) - 1)
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & np.uint64((1 << left_bits) - 1))
        left_bits, right_bits = right_bits, left_bits
    return left << np.uint64(right_bits) | right


def _mix(x: np.ndarray) -> np.ndarray:
    """Scramble 32-bit words: the finalizer of MurmurHash3, which ends by folding the high bits onto the low ones."""
    x = (x ^ (x >> np.uint64(16))) * np.uint64(MURMUR_0) & _LOW
    x = (x ^ (x >> np.uint64(13))) * np.uint64(MURMUR_1) & _LOW
    return x ^ (x >> np.uint64(16))


# Four entries are enough for one epoch. Keeping the keys of every epoch would fragment the heap between batches.
@functools.lru_cache(maxsize=4)
def _round_keys(rng: int) -> np.ndarray:
    """Derive the keys of the twelve rounds: uint64 [12], below 2**32."""
    counter = np.zeros((3, 4), np.uint32)
    counter[:, 0] = np.arange(3)
    return philox(counter, np.array(key_words(rng))).astype(np.uint64).ravel()
