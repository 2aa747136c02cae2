"""Counter-based randomness: every number is a pure function of (seed, epoch, name, key, crop, position).

Philox 4x32-10 turns a 128-bit counter into 128 random bits under a 64-bit key. The key is the *stream*, a hash of seed,
epoch and the name of the choice; the counter holds the sample: (block, crop index, key hash low, key hash high). So
nothing is remembered between draws, and a draw does not depend on who asks for it, when, or beside whom.

References
----------
.. [1] J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import functools
import hashlib
import struct
from collections.abc import Iterable

import numpy as np

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
N_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def hash_key(key: str) -> int:
    """64-bit BLAKE2b hash of a clip's key."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def hash_keys(keys: Iterable[str]) -> np.ndarray:
    """`hash_key` of each key, uint64 [n]."""
    return np.fromiter((hash_key(key) for key in keys), np.uint64)


def stream(seed: int, epoch: int, name: str) -> int:
    """64-bit Philox key of one choice in one epoch: a hash of the three, so that no two of them can be confused.

    Examples
    --------
    >>> stream(1, 2, "gain") == stream(2, 1, "gain")  # not so for a generator seeded with seed + epoch
    False
    """
    text = f"{int(seed)},{int(epoch)},{name}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


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
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, np.uint64), -1, 0)
    k0, k1 = (int(word) for word in key)
    for _ in range(N_ROUNDS):
        p0, p1 = np.uint64(MULTIPLIERS[0]) * c0, np.uint64(MULTIPLIERS[1]) * c2
        c0, c1 = (p1 >> _32) ^ c1 ^ np.uint64(k0), p1 & _LOW
        c2, c3 = (p0 >> _32) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], -1).astype(np.uint32)


def uniform(stream: int, key_hash: np.ndarray, crop: np.ndarray, n: int = 1) -> np.ndarray:
    """`n` uniform numbers for each sample, on the host.

    Parameters
    ----------
    stream : int
        64-bit key, from `stream`.
    key_hash : uint64 [batch]
        From `hash_keys`.
    crop : int [batch]
        Crop indices, ``0 <= crop < 2**32``.
    n : int
        Numbers per sample.

    Returns
    -------
    float64 [batch, n]
        In [0, 1), with 53 random bits.

    Examples
    --------
    >>> a = uniform(7, hash_keys(["x", "y"]), np.array([0, 0]))
    >>> b = uniform(7, hash_keys(["y"]), np.array([0]))
    >>> bool(a[1] == b[0])
    True
    """
    key_hash = np.asarray(key_hash, np.uint64)
    counter = np.empty((len(key_hash), -(-n // 2), 4), np.uint32)
    counter[..., 0] = np.arange(counter.shape[1])
    counter[..., 1] = np.asarray(crop, np.uint32)[:, None]
    counter[..., 2] = (key_hash & _LOW)[:, None]
    counter[..., 3] = (key_hash >> _32)[:, None]
    words = philox(counter, _words(stream)).astype(np.uint64)  # [batch, block, 4]
    bits = words[..., 0::2] << _32 | words[..., 1::2]
    return (bits >> np.uint64(11)).reshape(len(key_hash), 2 * counter.shape[1])[:, :n] * 2.0**-53


def permute(index: np.ndarray, n: int, stream: int) -> np.ndarray:
    """Places of `index` in a pseudorandom permutation of ``0 .. n - 1``, computed without a table.

    A Feistel network on the fewest bits that hold `n`, with round keys from Philox, walked along its cycles until the
    result is below `n` [1]_.

    Parameters
    ----------
    index : int64 or uint64 [m]
        ``0 <= index < n``.
    n : int
        Size of the permutation, ``1 <= n < 2**63``.
    stream : int
        64-bit key, from `stream`.

    Returns
    -------
    array [m], dtype of `index`
        Distinct for distinct `index`.

    Raises
    ------
    ValueError
        If `n` or an index is out of range.

    References
    ----------
    .. [1] J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002.

    Examples
    --------
    >>> sorted(permute(np.arange(5), 5, stream=3).tolist())
    [0, 1, 2, 3, 4]
    """
    index = np.asarray(index)
    if not 1 <= n < 2**63:
        raise ValueError(f"n must be in 1 .. 2**63 - 1, got {n}")
    if index.size and not (index.min() >= 0 and index.max() < n):
        raise ValueError(f"indices must be in 0 .. {n - 1}, got {index.min()} .. {index.max()}")
    bits = max(4, (n - 1).bit_length())
    keys = _round_keys(stream)
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
    x = (x ^ (x >> np.uint64(16))) * np.uint64(0x85EBCA6B) & _LOW
    x = (x ^ (x >> np.uint64(13))) * np.uint64(0xC2B2AE35) & _LOW
    return x ^ (x >> np.uint64(16))


@functools.lru_cache(maxsize=256)
def _round_keys(stream: int) -> np.ndarray:
    """Twelve round keys, uint64 below 2**32; twelve rounds also mix halves of two bits."""
    counter = np.zeros((3, 4), np.uint32)
    counter[:, 0] = np.arange(3)
    return philox(counter, _words(stream)).astype(np.uint64).ravel()


def _words(stream: int) -> np.ndarray:
    """The two words of a Philox key, uint32 [2], low one first."""
    return np.frombuffer(struct.pack("<Q", stream), "<u4")
