"""Compiled kernels behind `gtzan_stream.dsp`: numba for the CPU, Triton for CUDA."""
