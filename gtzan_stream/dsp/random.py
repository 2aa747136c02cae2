"""Counter-based random numbers: each is a pure function of (seed, epoch, name, clip key, crop index, position).

Philox 4x32-10 [1]_ turns a counter of four 32-bit words into four random words, under a key of two words (`philox`):

    key     = 64-bit BLAKE2b hash of "seed,epoch,name"                              (`rng`)
    counter = block, crop index, low and high word of the clip key's 64-bit hash    (`hash_key`)

The name says which choice is made, such as "OneOf.3/TimeStretch.rate". So each choice of an epoch has a key of its own,
each example a sequence of 2**32 blocks under it, and nothing is remembered between draws: a draw depends neither on the
order of calls nor on batch, worker or rank. Names are data: a different name gives different draws.

**Uniform numbers.** Block b gives the numbers 2 b and 2 b + 1, from the top 53 bits of words 0, 1 and of words 2, 3
(the first word of a pair is the high one).

**Gaussian noise.** Each pair of words gives two Gaussians by the Box-Muller transform, with 24-bit u in (0, 1] and v in
[0, 1): ``sqrt(-2 log u) * cos(2 pi v)`` and ``sqrt(-2 log u) * sin(2 pi v)``. So a block gives four samples. They are
not neighbours in the waveform: noise is laid out in tiles of 4 x 256 samples (256 is NOISE_LANES). Sample
``1024 tile + 256 word + lane`` is Gaussian number `word` of block ``256 tile + lane``, so 256 vector lanes, each with
its own block, write 256 neighbouring samples at once.

References
----------
.. [1] J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import hashlib
import math
from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float

from gtzan_stream.dsp.backend import backend, for_rows, numba_on_host
from gtzan_stream.dsp.parameters import per_example, to_device
from gtzan_stream.dsp.philox import key_words, philox, philox_torch
from gtzan_stream.kernels.constants import NOISE_LANES

_LOW_32 = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def hash_key(key: str) -> int:
    """Compute the 64-bit BLAKE2b hash of a clip's key."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def hash_keys(keys: Iterable[str]) -> np.ndarray:
    """Compute `hash_key` of each key: uint64 [n]."""
    return np.fromiter((hash_key(key) for key in keys), np.uint64)


def rng(seed: int, epoch: int, name: str) -> int:
    """Compute the 64-bit Philox key of one choice in one epoch: a hash of all three.

    Examples
    --------
    >>> rng(1, 2, "gain") == rng(2, 1, "gain")  # seeding with seed + epoch would make these equal
    False
    """
    text = f"{int(seed)},{int(epoch)},{name}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def uniform(rng: int, key_hash: np.ndarray, crop: np.ndarray, n: int = 1) -> np.ndarray:
    """Draw `n` uniform numbers for each example, on the host.

    Parameters
    ----------
    rng : int
        64-bit key, from `rng`.
    key_hash : uint64 [batch]
        From `hash_keys`.
    crop : int [batch]
        Crop indices, ``0 <= crop < 2**32``.
    n : int
        Numbers per example.

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
    key0, key1 = key_words(rng)
    if numba_on_host():
        from gtzan_stream.kernels import numba_random

        out = np.empty((len(key_hash), n))
        numba_random.uniform(np.uint64(key0), np.uint64(key1), key_hash, crop, out)
        return out
    counter = np.empty((len(key_hash), -(-n // 2), 4), np.uint64)
    counter[..., 0] = np.arange(counter.shape[1])
    counter[..., 1] = crop[:, None]
    counter[..., 2] = (key_hash & _LOW_32)[:, None]
    counter[..., 3] = (key_hash >> _32)[:, None]
    words = philox(counter, np.array([key0, key1])).astype(np.uint64)  # [batch, block, 4]
    bits = words[..., 0::2] << _32 | words[..., 1::2]
    return (bits >> np.uint64(11)).reshape(len(key_hash), 2 * counter.shape[1])[:, :n] * 2.0**-53


def normal(
    rng: int,
    key_hash: np.ndarray,
    crop: np.ndarray,
    length: int,
    *,
    std: np.ndarray | float = 1.0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Float[torch.Tensor, "batch time"]:
    """Make Gaussian noise for each example, on `device`.

    The Box-Muller transform of 24-bit uniform numbers gives no value beyond 5.8 `std`. All devices and backends make
    the same noise, to 1e-5 `std`.

    Parameters
    ----------
    rng : int
        64-bit key, from `rng`.
    key_hash : uint64 [batch]
        From `hash_keys`; on the host.
    crop : int [batch]
        Crop indices, ``0 <= crop < 2**32``; on the host.
    length : int
        Samples of noise. A longer noise begins with the same samples.
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
        If the number of deviations is neither 1 nor `batch`, or one is not finite.

    Examples
    --------
    >>> noise = normal(7, hash_keys(["x", "y"]), np.array([0, 0]), 22050)
    >>> bool((noise.std(dim=1) - 1).abs().max() < 0.02)
    True
    """
    out = torch.empty(len(key_hash), length, device=device, dtype=dtype)
    key_hash, crop = np.asarray(key_hash, np.uint64), np.asarray(crop, np.uint64)
    std = per_example(std, len(crop), "std", positive=False)
    key0, key1 = key_words(rng)
    name = backend(out)
    if name == "numba":
        rows = out.numpy()
        for_rows(lambda i: normal_row(rng, key_hash[i], crop[i], std[i], rows[i]), len(rows))
        return out
    # int64 [batch, 6]: crop, low and high word of the hash, both words of the key, bits of a float64 std; one transfer.
    words = [crop, key_hash & _LOW_32, key_hash >> _32, np.full_like(crop, key0), np.full_like(crop, key1)]
    counters = to_device(np.stack([*words, std.view(np.uint64)], 1).view(np.int64), out.device)
    if name == "triton":
        from gtzan_stream.kernels import triton_random

        triton_random.normal(counters, out)
        return out
    return _normal(counters, (key0, key1), length, dtype)


def normal_row(rng: int, key_hash: np.uint64, crop: np.integer, std: float, out: np.ndarray) -> None:
    """Fill `out`, float32 [length], with the noise that `normal` makes for one example, on this thread."""
    from gtzan_stream.kernels import numba_random

    key0, key1 = key_words(rng)
    numba_random.normal(np.uint64(key0), np.uint64(key1), key_hash, np.uint64(crop), np.float32(std), out)


def _normal(counters: torch.Tensor, key: tuple[int, int], length: int, dtype: torch.dtype) -> torch.Tensor:
    """`normal` in plain torch."""
    n_tiles = -(-length // (4 * NOISE_LANES))
    block = torch.arange(n_tiles * NOISE_LANES, device=counters.device)
    crop, low, high = counters[:, :3, None].unbind(1)
    w0, w1, w2, w3 = philox_torch(block[None], crop, low, high, key)  # [batch, block]
    compute_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    gaussians = (*_box_muller(w0, w1, compute_dtype), *_box_muller(w2, w3, compute_dtype))
    tiles = [z.view(len(counters), n_tiles, NOISE_LANES) for z in gaussians]
    std = counters[:, 5:].view(torch.float64).to(compute_dtype)
    return (torch.stack(tiles, 2).flatten(1)[:, :length] * std).to(dtype)


def _box_muller(first: torch.Tensor, second: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute two Gaussians from each pair of words: radius from the first, angle from the second."""
    radius = (((first >> 8) + 1).to(dtype) * 2.0**-24).log().mul(-2).sqrt()
    angle = (second >> 8).to(dtype) * (2 * math.pi * 2.0**-24)
    return radius * angle.cos(), radius * angle.sin()
