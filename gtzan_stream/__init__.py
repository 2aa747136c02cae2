"""On-the-fly augmentation and features for music, streamed from WebDataset shards and computed on the GPU."""

__version__ = "0.1.0"
