"""Read segments of clips from shards.

A segment is `len(out)` samples of a clip from sample `start` on. How it is read depends on how the clip is stored:

1. Mono 16-bit PCM at the set's rate (`Manifest.direct`, what `pack` writes by default): sample i is the 2 bytes at
   ``data_offset + 2 * i`` of the shard. They are read straight into `out`, or divided by 32768 if `out` is float32.
   If all clips are stored so, `direct_rows` reads the rows of a batch without the GIL.
2. Other PCM and FLAC at the set's rate (`Manifest.seekable`): libsndfile seeks in the member and decodes the segment.
3. Everything else (MP3, Ogg, codecs that cannot seek, clips of another rate): the clip is decoded whole, from its
   beginning, and resampled if needed, because lossy codecs and resamplers give slightly different samples if they start
   in the middle. The waveform is cached in memory for the next segments (decoded.py).

A segment may begin before the clip or end after it. There the clip continues as its mirror image, like
``numpy.pad(mode="reflect")``. `reflected_indices` computes which samples these are; the part of the clip that contains
all of them is read, and the samples are picked from it.
"""

import hashlib

import numpy as np

from gtzan_stream import audio
from gtzan_stream.errors import BadSample, UserError
from gtzan_stream.store.decoded import DecodedClips
from gtzan_stream.store.direct import DirectRows, can_read_directly, most_shards_of_a_batch
from gtzan_stream.store.manifest import Manifest
from gtzan_stream.store.open_shards import MemberFile, OpenShard, OpenShards

MAX_OPEN_SHARDS = 256
DECODED_BYTES = 512 << 20  # 1.7 hours of music at 22,050 Hz
_RESAMPLER_SLACK = 16  # samples by which the length of a resampled clip may differ from the exact quotient


class ClipReader:
    """Reads any segment of any clip of a manifest, from any number of threads at once.

    Attributes
    ----------
    dtype : int16 or float32
        Type of the samples to read: int16 if all clips are mono 16-bit PCM at the set's rate, so that no conversion is
        needed; else float32, full scale at +/-1.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.dtype: type = np.int16 if manifest.direct.all() else np.float32
        self._shards = OpenShards(manifest, MAX_OPEN_SHARDS)
        self._decoded = DecodedClips(DECODED_BYTES)
        self._intact: set[int] = set()  # clips with a correct checksum: their zeros are silence

    def read(self, clip: int, start: int, out: np.ndarray) -> None:
        """Fill `out` with the samples of a clip from `start` on, reflected at the clip's ends.

        Parameters
        ----------
        clip : int
            Number of the clip in the manifest.
        start : int
            First sample; may be negative.
        out : ndarray [time] of `dtype`
            Contiguous.

        Raises
        ------
        BadSample
            If the samples cannot be read; the message names shard and key.
        UserError
            If the set was packed again while it was in use, so that none of its clips can be read any more.
        """
        frames = int(self.manifest.frames[clip])
        try:
            if start >= 0 and start + len(out) <= frames:
                self._read_inside(clip, start, out)
            elif len(out):
                index = reflected_indices(start, len(out), frames)
                first = int(index.min())
                inside = np.empty(int(index.max()) + 1 - first, out.dtype)
                self._read_inside(clip, first, inside)
                np.take(inside, index - first, out=out)
            if len(out) and not (out[0] or out[-1] or out[len(out) // 2]):  # rules out most segments at little cost
                self._check_zeros(clip, out)
        except UserError:  # concerns the whole set: a loader must not skip it like a bad sample
            raise
        except (OSError, ValueError) as error:
            raise BadSample(f"{self.manifest.location(clip)}: {error}") from error

    def direct_rows(self, clips: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> DirectRows | None:
        """Prepare the reading of a batch's rows without the GIL. Opens their shards, and downloads remote ones.

        Parameters
        ----------
        clips, starts, lengths : int64 [batch]
            Clip, first sample and number of samples of each row.

        Returns
        -------
        DirectRows or None
            None if it could read no row. Rows that it does not read, also those of a shard that cannot be opened, are
            left to `read`, which raises their errors.

        Raises
        ------
        UserError
            If the set was packed again while it was in use.
        """
        shards = self._open(clips)
        if self.dtype != np.int16 or not can_read_directly():
            return None
        return DirectRows(self.manifest, shards, clips, starts, lengths)

    def close(self) -> None:
        """Close the shards. Reading afterwards is an error."""
        self._shards.close()
        self._decoded.clear()

    def _open(self, clips: np.ndarray) -> dict[int, OpenShard]:
        """Open the shards of some clips, up to the first that cannot be opened. Return the first few of them by number.

        More are only opened, so that no row waits for a download, since files that are held open are limited.
        """
        shards: dict[int, OpenShard] = {}
        try:
            for shard in np.unique(self.manifest.shard[clips]).tolist():
                opened = self._shards.get(shard)
                if len(shards) < most_shards_of_a_batch():
                    shards[shard] = opened
        except UserError:
            raise
        except (OSError, ValueError):
            pass
        return shards

    def _read_inside(self, clip: int, start: int, out: np.ndarray) -> None:
        """Read a segment that is inside its clip."""
        manifest = self.manifest
        shard = self._shards.get(int(manifest.shard[clip]))
        if not manifest.direct[clip]:
            self._decode(shard, clip, start, out)
        elif out.dtype == np.int16:
            shard.read_into(_as_bytes(out), int(manifest.data_offset[clip]) + 2 * start)
        else:
            samples = np.empty(len(out), np.int16)
            shard.read_into(_as_bytes(samples), int(manifest.data_offset[clip]) + 2 * start)
            np.divide(samples, audio.FULL_SCALE, out=out)

    def _decode(self, shard: OpenShard, clip: int, start: int, out: np.ndarray) -> None:
        if not self.manifest.seekable[clip]:
            waveform = self._decoded.get(clip, lambda: self._decode_whole(shard, clip))
            out[:] = waveform[start : start + len(out)]
            return
        with MemberFile(shard, *self._member_range(clip)) as member:
            try:
                audio.read_segment(member, start, out)
            except ValueError as error:
                raise member.error or error from None
        audio.check_samples(out, start)

    def _decode_whole(self, shard: OpenShard, clip: int) -> np.ndarray:
        """Decode a clip from beginning to end, resampled to the set's rate, and check its length."""
        manifest = self.manifest
        waveform, _ = audio.decode(shard.read(*self._member_range(clip)), manifest.sample_rate)
        expected = int(manifest.frames[clip])
        if manifest.clip_rate[clip] != manifest.sample_rate and abs(len(waveform) - expected) <= _RESAMPLER_SLACK:
            waveform = np.pad(waveform[:expected], (0, max(0, expected - len(waveform))), mode="edge")
        if len(waveform) != expected:
            raise ValueError(
                f"{len(waveform)} samples can be decoded, the manifest says {expected}: index the set again"
            )
        return waveform

    def _check_zeros(self, clip: int, out: np.ndarray) -> None:
        """Raise ValueError if `out` is all zeros because of a hole in the shard, rather than silence in the clip.

        A file system that lost a block of a file reads it as zeros. The checksum of the clip tells the two apart; it is
        computed at most once for a clip.
        """
        if clip in self._intact or out.any():
            return
        shard = self._shards.get(int(self.manifest.shard[clip]))
        if hashlib.sha256(shard.read(*self._member_range(clip))).hexdigest() != self.manifest.sha256[clip].as_py():
            raise ValueError("the shard holds zeros where the clip does not: copy or pack the set again")
        self._intact.add(clip)

    def _member_range(self, clip: int) -> tuple[int, int]:
        """Return offset and size of a clip's audio file in its shard, in bytes."""
        return int(self.manifest.member_offset[clip]), int(self.manifest.member_size[clip])


def reflected_indices(start: int, length: int, frames: int) -> np.ndarray:
    """Return the indices into a clip of `frames` samples for indices `start` to `start + length` of its reflection.

    The clip followed by its mirror image, without doubling the samples at the ends, repeats every P = 2 (frames - 1)
    samples. Within a period, index i is sample i of the clip going forwards or sample P - i going backwards, whichever
    is smaller. For frames = 4, P = 6:

        index            -2 -1  0  1  2  3  4  5  6
        i = index mod P   4  5  0  1  2  3  4  5  0
        min(i, P - i)     2  1  0  1  2  3  2  1  0

    >>> reflected_indices(-2, 8, 4).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    if frames == 1:
        return np.zeros(length, np.int64)
    period = 2 * (frames - 1)
    index = np.arange(start, start + length) % period
    return np.minimum(index, period - index)


def _as_bytes(samples: np.ndarray) -> memoryview:
    return samples.data.cast("B")
