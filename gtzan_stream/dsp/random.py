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
import math
from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float

from gtzan_stream.dsp.backend import backend, for_rows
from gtzan_stream.dsp.parameters import per_example, to_device
from gtzan_stream.dsp.philox import key_words, philox, philox_torch

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_LANES = 256  # Philox blocks in a tile of noise
_HOST = torch.empty(0, dtype=torch.float32)


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
    key_hash, crop = np.asarray(key_hash, np.uint64), np.asarray(crop, np.uint64)
    key0, key1 = key_words(stream)
    if backend(_HOST) == "numba":
        from gtzan_stream.kernels import numba_random

        out = np.empty((len(key_hash), n))
        numba_random.uniform(np.uint64(key0), np.uint64(key1), key_hash, crop, out)
        return out
    counter = np.empty((len(key_hash), -(-n // 2), 4), np.uint64)
    counter[..., 0] = np.arange(counter.shape[1])
    counter[..., 1] = crop[:, None]
    counter[..., 2] = (key_hash & _LOW)[:, None]
    counter[..., 3] = (key_hash >> _32)[:, None]
    words = philox(counter, np.array([key0, key1])).astype(np.uint64)  # [batch, block, 4]
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
    if backend(_HOST) == "numba":
        from gtzan_stream.kernels import numba_random

        place = index.astype(np.uint64)
        numba_random.permute(place, np.uint64(n), bits, keys)
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
    x = (x ^ (x >> np.uint64(16))) * np.uint64(0x85EBCA6B) & _LOW
    x = (x ^ (x >> np.uint64(13))) * np.uint64(0xC2B2AE35) & _LOW
    return x ^ (x >> np.uint64(16))


@functools.lru_cache(maxsize=4)  # an epoch's are enough; more would pin the heap, where batches come and go
def _round_keys(stream: int) -> np.ndarray:
    """Twelve round keys, uint64 below 2**32; twelve rounds also mix halves of two bits."""
    counter = np.zeros((3, 4), np.uint32)
    counter[:, 0] = np.arange(3)
    return philox(counter, np.array(key_words(stream))).astype(np.uint64).ravel()


def normal(
    stream: int,
    key_hash: np.ndarray,
    crop: np.ndarray,
    length: int,
    *,
    std: np.ndarray | float = 1.0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Float[torch.Tensor, "batch time"]:
    """Gaussian noise for each sample, made on `device`.

    Philox words become Gaussians by the Box-Muller transform, from 24 bits each, so that no value is beyond 5.8 `std`.
    The same noise comes from every device and backend, to 1e-5 `std`.

    Parameters
    ----------
    stream : int
        64-bit key, from `stream`.
    key_hash : uint64 [batch]
        From `hash_keys`; on the host.
    crop : int [batch]
        Crop indices, ``0 <= crop < 2**32``; on the host.
    length : int
        Samples of noise. Sample j does not depend on it.
    std : array [batch] or number
        Standard deviation; on the host.
    device, dtype
        Of the result.

    Returns
    -------
    Tensor [batch, length]
        Mean 0.

    Raises
    ------
    ValueError
        If there are neither one nor `batch` deviations, or one is not finite.

    Examples
    --------
    >>> noise = normal(7, hash_keys(["x", "y"]), np.array([0, 0]), 22050)
    >>> bool((noise.std(dim=1) - 1).abs().max() < 0.02)
    True
    """
    out = torch.empty(len(key_hash), length, device=device, dtype=dtype)
    key_hash, crop = np.asarray(key_hash, np.uint64), np.asarray(crop, np.uint64)
    std = per_example(std, len(crop), "std", positive=False)
    key0, key1 = key_words(stream)
    name = backend(out)
    if name == "numba":
        from gtzan_stream.kernels import numba_random

        key, rows = (np.uint64(key0), np.uint64(key1)), out.numpy()
        for_rows(
            lambda i: numba_random.normal(*key, key_hash[i], crop[i], np.float32(std[i]), rows[i]),
            len(rows),
        )
        return out
    words = [crop, key_hash & _LOW, key_hash >> _32, np.full_like(crop, key0), np.full_like(crop, key1)]
    counters = to_device(np.stack([*words, std.view(np.uint64)], 1).view(np.int64), out.device)  # all in one transfer
    if name == "triton":
        from gtzan_stream.kernels import triton_random

        triton_random.normal(counters, out)
        return out
    return _normal(counters, (key0, key1), length, dtype)


def _normal(counters: torch.Tensor, key: tuple[int, int], length: int, dtype: torch.dtype) -> torch.Tensor:
    """`normal` in plain torch. Tiles of 4 x 256 samples are laid out word by word, so that lanes write side by side."""
    n_tiles = -(-length // (4 * _LANES))
    block = torch.arange(n_tiles * _LANES, device=counters.device)
    crop, low, high = counters[:, :3, None].unbind(1)
    w0, w1, w2, w3 = philox_torch(block[None], crop, low, high, key)  # [batch, block]
    exact = dtype if dtype == torch.float64 else torch.float32
    tiles = [z.view(len(counters), n_tiles, _LANES) for z in (*_box_muller(w0, w1, exact), *_box_muller(w2, w3, exact))]
    std = counters[:, 5:].view(torch.float64).to(exact)
    return (torch.stack(tiles, 2).flatten(1)[:, :length] * std).to(dtype)


def _box_muller(first: torch.Tensor, second: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Two Gaussians from each pair of words: radius from the first, angle from the second."""
    radius = (((first >> 8) + 1).to(dtype) * 2.0**-24).log().mul(-2).sqrt()
    angle = (second >> 8).to(dtype) * (2 * math.pi * 2.0**-24)
    return radius * angle.cos(), radius * angle.sin()
