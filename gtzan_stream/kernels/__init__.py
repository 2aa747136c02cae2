"""Compiled kernels behind `gtzan_stream.dsp`: numba for the CPU, Triton for CUDA.

The programs of a Triton kernel are numbered along one axis, those of a row side by side, because CUDA's other two axes
end at 65,535: fewer than the rows of a large batch, or the tiles of a long one.
"""
