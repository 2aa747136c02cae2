"""Write what a network heard of one example as a sound file."""

from pathlib import Path
from typing import Any

from gtzan_stream.atomic import write_bytes
from gtzan_stream.audio import encode_float
from gtzan_stream.errors import UserError
from gtzan_stream.loader import Loader


def replay(
    loader: Loader, key: str, crop: int, epoch: int, path: Path, *, untouched: Path | None = None
) -> dict[str, Any]:
    """Write the waveform that the features of an example were computed from, as a WAV file of float32.

    It has the samples that the frames inside the clip read: `LogMel` of the file gives their features again, and
    samples beyond full scale are kept.

    Parameters
    ----------
    loader : Loader
    key : str
        Of the clip.
    crop, epoch : int
    path : Path
        File to write; its folder is created.
    untouched : Path, optional
        Another file, for the same crop without augmentation.

    Returns
    -------
    dict
        What was written: the example, where its crop starts, its augmentation in words, and the sound's length.

    Raises
    ------
    UserError
        If there is no such clip, a number is out of range, training skipped the example, or a file cannot be written.
    """
    batch = loader.batch_of([key], crop, epoch=epoch)
    if batch.skipped:
        raise UserError(f"the network heard nothing of it, training skips it: {batch.skipped[0]}")
    geometry = loader.features.geometry
    length = geometry.span(max(int(batch.valid_frames[0]), 1))
    for file, augmented in ((path, True), (untouched, False)):
        if file is not None:
            samples = loader.waveforms(batch, augmented=augmented)[0, :length].cpu().numpy()
            write_bytes(file, encode_float(samples, geometry.sample_rate))
    return {
        "file": str(path),
        "key": key,
        "crop": crop,
        "epoch": epoch,
        "start_s": round(float(batch.starts[0]) / geometry.sample_rate, 4),
        "augmentation": batch.draw.describe(0),
        "seconds": round(length / geometry.sample_rate, 4),
        "sample_rate": geometry.sample_rate,
    }
